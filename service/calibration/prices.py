"""What a call of a calibration costs at worst."""

from __future__ import annotations

from decimal import Decimal

from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.tokens import BYTES_PER_TOKEN, estimated_tokens

FRAMING_TOKENS = 500  # that a provider may add to a prompt


def worst_usd(arm: Arm, body: Json, max_answer_tokens: int) -> Decimal:
    """The most that a call can cost, US dollars.

    A text has at most as many tokens as bytes, and no answer is longer than its limit. A price that nobody
    knows counts as the highest known one.
    """
    price = arm.expected_price
    n_prompt = estimated_tokens(body) * BYTES_PER_TOKEN + FRAMING_TOKENS
    input_price = max(price.input, price.cache_write or Decimal(0))
    n_answer = min(max_answer_tokens, arm.max_output_tokens or max_answer_tokens)
    return (n_prompt * input_price + n_answer * price.output).scaleb(-6)
