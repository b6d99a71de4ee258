"""What a call costs at worst."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.tokens import BYTES_PER_TOKEN
from service.meter.longest_prompt import longest_prompt

LIMITS = ("max_tokens", "max_completion_tokens")
FRAMING_TOKENS = 500  # that a provider may add to a prompt
LONGEST_ANSWER_TOKENS = 131_072  # of a model that is sent no limit, and whose own nobody knows
LARGEST_WINDOW_TOKENS = 2_000_000  # of a model whose own nobody knows


def worst_usd(
    arm: Arm,
    body: Json,
    *,
    default_max_tokens: int | None = None,
    native: Json | None = None,
    continues_thread: bool = False,
) -> Decimal:
    """The most that a call can cost, US dollars.

    A text has at most as many tokens as bytes, and no answer is longer than its limit. A price that nobody
    knows counts as the highest known one. Where the provider may read more than it is sent, the prompt fills
    the model's context window.

    Args:
        default_max_tokens: the limit that the router sends with a request that has none.
        native: the request as received in Anthropic's dialect, which some arms are sent instead.
        continues_thread: the provider puts earlier messages before those of the body, as many as fit.
    """
    price = arm.expected_price
    window = arm.context_window or LARGEST_WINDOW_TOKENS
    lengths = [longest_prompt(each) for each in (body, native) if each is not None]
    n_sent = max(window if length is None else length for length in lengths)
    n_prompt = n_sent + arm.n_own_prompt_tokens * BYTES_PER_TOKEN + FRAMING_TOKENS
    if continues_thread:
        n_prompt = max(n_prompt, window)
    n_answer = _answer_tokens(arm, body, default_max_tokens) * (body.get("n") or 1)
    input_price = max(price.input, price.cache_write or Decimal(0))
    return (n_prompt * input_price + n_answer * price.output).scaleb(-6)


def worst_input_usd(arms: Sequence[Arm], n_bytes: int) -> Decimal:
    """The most that reading so many bytes can cost at any of these places, US dollars."""
    prices = [arm.expected_price.input for arm in arms]
    return ((n_bytes + FRAMING_TOKENS) * max(prices, default=Decimal(0))).scaleb(-6)


def _answer_tokens(arm: Arm, body: Json, default: int | None) -> int:
    """The most tokens of an answer: the limit that the arm's settings leave, and the model's own."""
    asked = [body[name] for name in LIMITS if body.get(name) is not None and _is_sent(arm, name)]
    configured = [limit for name in LIMITS if isinstance(limit := arm.set_fields.get(name), int)]
    limits = [*asked, *configured] or ([] if default is None else [default])
    most = arm.max_output_tokens or LONGEST_ANSWER_TOKENS
    return min(max(limits), most) if limits else most


def _is_sent(arm: Arm, name: str) -> bool:
    return arm.rename.get(name, name) not in arm.drop
