from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from service.arms.breaker import Breaker
from service.arms.catalog import Catalog
from service.arms.unknown_prices import price_warnings, require_known_prices, with_assumed_prices
from service.domain.arm import DEAR, FREE, Arm, Price
from service.domain.registration import ArmRegistration
from service.errors import StartupError
from tests.fakes import FixedClock
from tests.service.world import ARMS, LARGE, SMALL

NEW = Arm("new", "openai", "new")
LOCAL = Arm("local", "openai", "local", price=FREE)


def assumed(*arms: Arm) -> Price:
    """The price that `NEW` is assumed to have beside these arms."""
    return with_assumed_prices([NEW, *arms], [NEW, *arms])[0].expected_price


def test_an_unknown_price_is_assumed_to_be_the_highest_known_one() -> None:
    assert assumed(*ARMS) == LARGE.price


def test_the_assumed_price_is_the_highest_of_each_kind() -> None:
    long_prompts = Arm("a", "openai", "a", price=Price(Decimal(9), Decimal(9)))
    long_answers = Arm("b", "openai", "b", price=Price(Decimal(1), Decimal(90), cached_input=Decimal(0)))

    assert assumed(long_prompts, long_answers) == Price(Decimal(9), Decimal(90))


def test_without_any_known_price_and_beside_free_models_alone_an_unknown_price_is_not_free() -> None:
    assert assumed() == assumed(LOCAL) == DEAR
    assert not DEAR.is_free


def test_all_unknown_prices_are_assumed_to_be_equal() -> None:
    one, other, _ = with_assumed_prices([NEW, replace(NEW, arm_id="b"), *ARMS[:1]], ARMS)

    assert one.expected_price == other.expected_price


def test_known_prices_stay() -> None:
    assert with_assumed_prices(ARMS, ARMS) == ARMS
    assert with_assumed_prices([LOCAL], ARMS) == (LOCAL,)


def test_the_assumed_price_follows_the_arms_in_use() -> None:
    clock = FixedClock()
    catalog = Catalog((SMALL, LARGE, NEW), "small", Breaker(clock))
    assert catalog.find("new").expected_price == LARGE.price

    retired = ArmRegistration("large", clock(), clock(), state="retired")
    catalog.put((SMALL, LARGE, NEW), {"large": retired})
    assert catalog.find("new").expected_price == SMALL.price

    dearer = replace(SMALL, price=Price(Decimal(70), Decimal(80)))
    catalog.put((dearer, LARGE, NEW), {})
    assert catalog.find("new").expected_price == dearer.price


def test_retired_arms_of_unknown_price_are_no_concern() -> None:
    clock = FixedClock()
    catalog = Catalog((SMALL, NEW), "small", Breaker(clock))
    assert [arm.arm_id for arm in catalog.unpriced] == ["new"]

    catalog.put((SMALL, NEW), {"new": ArmRegistration("new", clock(), clock(), state="retired")})

    assert catalog.unpriced == ()


def test_a_budget_needs_every_price_and_the_refusal_says_what_to_write() -> None:
    with pytest.raises(StartupError) as refusal:
        require_known_prices([SMALL, NEW, replace(NEW, arm_id="newer"), LOCAL], Decimal("0.01"))

    message = str(refusal.value)
    assert "BUDGET_USD_PER_REQUEST needs the price of every model" in message
    assert "new, newer is not known" in message
    assert "price: free" in message


def test_free_and_known_prices_suffice_for_a_budget_and_without_one_none_is_needed() -> None:
    require_known_prices([*ARMS, LOCAL], Decimal("0.01"))
    require_known_prices([NEW], None)


def test_the_operator_is_told_what_to_write() -> None:
    [warning] = price_warnings([NEW])

    assert "the price of new is not known" in warning
    assert "`price: free`" in warning
    assert price_warnings([]) == []
