"""Types and names that all values use: vectors, JSON objects, the kinds of decisions and attempts."""

from __future__ import annotations

from decimal import Context, Decimal, Inexact
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
Json = dict[str, Any]
DecisionKind = Literal["exploit", "explore", "pinned", "sticky", "default", "fallback", "escalated", "cache"]
AttemptStatus = Literal["ok", "failed", "cancelled"]
# provider: stated by the provider; price: tokens times the price; unknown: neither is known
CostSource = Literal["provider", "price", "unknown"]
DEFAULT_TENANT = "default"
# By default Python rounds Decimals to 28 digits; each price change adds a dozen digits to sums of dollars.
EXACT = Context(prec=100_000, traps=[Inexact])
AUTO = frozenset({"auto", "router/auto"})  # model names that let the router choose


def plain(number: Decimal) -> str:
    """The number for people: without an exponent and without zeros at the end."""
    return f"{number.normalize():f}"
