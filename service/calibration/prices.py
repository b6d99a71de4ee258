"""What a call of a calibration costs at worst."""

from __future__ import annotations

from decimal import Decimal

from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.tokens import BYTES_PER_TOKEN, estimated_tokens

LIMITS = ("max_tokens", "max_completion_tokens")
FRAMING_TOKENS = 500  # that a provider may add to a prompt
LONGEST_ANSWER_TOKENS = 131_072  # of a model that is sent no limit, and whose own nobody knows


def worst_usd(arm: Arm, body: Json) -> Decimal:
    """The most that a call can cost, US dollars.

    A text has at most as many tokens as bytes, and no answer is longer than its limit. A price that nobody
    knows counts as the highest known one.
    """
    price = arm.expected_price
    n_prompt = (estimated_tokens(body) + arm.n_own_prompt_tokens) * BYTES_PER_TOKEN + FRAMING_TOKENS
    input_price = max(price.input, price.cache_write or Decimal(0))
    return (n_prompt * input_price + _answer_tokens(arm, body) * price.output).scaleb(-6)


def _answer_tokens(arm: Arm, body: Json) -> int:
    """The most tokens of an answer: the limit that the arm's settings leave, and the model's own."""
    asked = [body[name] for name in LIMITS if body.get(name) is not None and _is_sent(arm, name)]
    configured = [limit for name in LIMITS if isinstance(limit := arm.set_fields.get(name), int)]
    most = arm.max_output_tokens or LONGEST_ANSWER_TOKENS
    return min(max([*asked, *configured]), most) if asked or configured else most


def _is_sent(arm: Arm, name: str) -> bool:
    return arm.rename.get(name, name) not in arm.drop
