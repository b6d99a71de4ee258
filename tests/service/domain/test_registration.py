from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from service.domain.arm import Price
from service.domain.registration import ArmRegistration, PriceChange, price_change, typical_usd

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def price(prompt: str, answer: str) -> Price:
    return Price(Decimal(prompt), Decimal(answer))


def test_a_typical_request_has_a_thousand_tokens_and_three_hundred_of_answer() -> None:
    assert typical_usd(price("2", "10")) == Decimal("0.005")


@pytest.mark.parametrize(
    ("old", "new", "factor", "added_usd"),
    [
        (price("1", "4"), price("2", "8"), "2", "0"),
        (price("3", "0"), price("1", "0"), "0.333333333333333", "0"),
        (price("1e-20", "0"), price("10000", "0"), "1e24", "0"),
        (price("10000", "0"), price("1e-20", "0"), "1e-24", "0"),
        (price("1", "4"), price("0", "0"), "0", "0"),
        (price("0", "0"), price("1", "4"), "1", "0.0022"),
    ],
    ids=["dearer", "no finite decimal", "from next to nothing", "to next to nothing", "now free", "was free"],
)
def test_dollars_change_by_the_cost_of_a_typical_request(
    old: Price, new: Price, factor: str, added_usd: str
) -> None:
    assert price_change(old, new, NOW) == PriceChange(NOW, Decimal(factor), Decimal(added_usd))


def test_prices_with_the_same_typical_cost_convert_nothing() -> None:
    assert price_change(price("1", "4"), price("2.2", "0"), NOW) is None
    assert price_change(price("0", "0"), price("0", "0"), NOW) is None


def test_an_answers_cost_is_converted_by_all_later_changes() -> None:
    changes = (
        PriceChange(NOW, Decimal(2), Decimal(0)),
        PriceChange(NOW + timedelta(hours=1), Decimal(1), Decimal("0.5")),
        PriceChange(NOW + timedelta(hours=2), Decimal(10), Decimal(0)),
    )
    registration = ArmRegistration("small", NOW, NOW, price_changes=changes)

    assert registration.todays_usd(1.0, NOW - timedelta(hours=1)) == (1.0 * 2 + 0.5) * 10
    assert registration.todays_usd(1.0, NOW + timedelta(minutes=90)) == 10.0
    assert registration.todays_usd(1.0, NOW + timedelta(hours=3)) == 1.0
