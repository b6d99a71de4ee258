"""Arms whose price nobody knows: what they are assumed to cost, and what the operator is told."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from decimal import Decimal

from service.domain.arm import DEAR, Arm, Price
from service.errors import StartupError

HOW_TO_SET = "`price: {input: ..., output: ...}` in US dollars per million tokens, or `price: free`"


def with_assumed_prices(arms: Iterable[Arm], in_use: Collection[Arm]) -> tuple[Arm, ...]:
    """The arms, those of unknown price with the highest known price of the arms in use.

    The assumed price has the highest price of input and the highest of output, so that an arm of unknown
    price never wins by its cost, whatever the lengths of prompt and answer. Free arms do not count: beside
    them alone, an arm of unknown price is not free either.
    """
    known = [arm.price for arm in in_use if arm.price is not None and not arm.price.is_free]
    highest = Price(max(p.input for p in known), max(p.output for p in known)) if known else DEAR
    return tuple(arm if arm.price is not None else replace(arm, assumed_price=highest) for arm in arms)


def price_warnings(unpriced: Iterable[Arm]) -> list[str]:
    """What the operator is told about each arm of unknown price."""
    return [
        f"the price of {arm.arm_id} is not known: it is chosen as if it were the most expensive model, and "
        f"its cost is in no total; set {HOW_TO_SET}"
        for arm in unpriced
    ]


def require_known_prices(arms: Sequence[Arm], budget_usd: Decimal | None) -> None:
    """Raises StartupError: there is a budget, which cannot be kept to with a price that nobody knows."""
    unpriced = [arm.arm_id for arm in arms if arm.price is None]
    if budget_usd is not None and unpriced:
        raise StartupError(
            f"BUDGET_USD_PER_REQUEST needs the price of every model, and that of {', '.join(unpriced)} "
            f"is not known: give each an entry in `models:` with {HOW_TO_SET}"
        )
