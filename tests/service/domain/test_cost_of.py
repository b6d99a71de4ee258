"""The cost of a call, and where it comes from."""

from __future__ import annotations

from decimal import Decimal

import pytest

from service.domain.answer import Usage
from service.domain.arm import FREE, Price
from service.domain.usage import Cost, cost_of

PRICE = Price(Decimal(2), Decimal(8))
STATED = Decimal("0.05")


@pytest.mark.parametrize(
    ("usage", "price", "cost"),
    [
        (Usage(100, completion_tokens=10, stated_cost_usd=STATED), PRICE, Cost(STATED, "provider")),
        (Usage(100, completion_tokens=10, stated_cost_usd=STATED), None, Cost(STATED, "provider")),
        (
            Usage(100, completion_tokens=10, stated_cost_usd=Decimal(0)),
            PRICE,
            Cost(Decimal("0.00028"), "price"),
        ),
        (Usage(100, completion_tokens=10), PRICE, Cost(Decimal("0.00028"), "price")),
        (Usage(100, completion_tokens=10), FREE, Cost(Decimal(0), "price")),
        (Usage(), None, Cost(Decimal(0), "price")),
        (Usage(100), None, Cost(None, "unknown")),
        (Usage(completion_tokens=10), None, Cost(None, "unknown")),
        (Usage(100, completion_tokens=10, stated_cost_usd=Decimal(0)), None, Cost(None, "unknown")),
    ],
)
def test_a_stated_cost_comes_first_then_the_price_and_else_it_is_unknown(
    usage: Usage, price: Price | None, cost: Cost
) -> None:
    assert cost_of(usage, price) == cost
