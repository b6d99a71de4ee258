"""What a provider itself says that a call cost, in any of the ways that vendors say it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

# LiteLLM's proxies send the cost of a whole answer in this header.
COST_HEADER = "x-litellm-response-cost"

_HIGHEST_USD = Decimal(1000)  # of one call; more is a provider's mistake
_TICKS_PER_USD = 10**10  # xAI counts in ticks
_NANO_USD = Decimal("0.000000001")


def stated_cost_usd(usage: Mapping[str, Any]) -> Decimal | None:
    """The cost in a usage object; None if it has none that makes sense.

    `cost` is a number (OpenRouter and most gateways) or an object with a total (Perplexity).
    """
    cost = usage.get("cost")
    if isinstance(cost, Mapping):
        cost = cost.get("total_cost")
    for stated in (_with_upstream(usage, dollars(cost)), dollars(usage.get("estimated_cost"))):
        if stated is not None:
            return stated
    ticks = usage.get("cost_in_usd_ticks")
    return None if isinstance(ticks, str) else dollars(ticks, per_usd=_TICKS_PER_USD)


def _with_upstream(usage: Mapping[str, Any], charged: Decimal | None) -> Decimal | None:
    """The gateway's charge, and with a key of one's own what the vendor charges beside it.

    Without `is_byok` the larger counts: a gateway that charges nothing only passes on the vendor's bill.
    """
    details = usage.get("cost_details")
    upstream = dollars(details.get("upstream_inference_cost")) if isinstance(details, Mapping) else None
    if upstream is None or charged is None or usage.get("is_byok") is False:
        return upstream if charged is None else charged
    return charged + upstream if usage.get("is_byok") is True else max(charged, upstream)


def dollars(value: object, *, per_usd: int = 1) -> Decimal | None:
    """A number of dollars, also in a string; None if it is none, negative, not finite or far too large."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    try:
        number = Decimal(str(value).strip())
    except (InvalidOperation, ValueError):  # ValueError: an int of thousands of digits
        return None
    if not number.is_finite() or (number.is_signed() and number != 0) or number > _HIGHEST_USD * per_usd:
        return None
    return (abs(number) / per_usd).quantize(_NANO_USD)
