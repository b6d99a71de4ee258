from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from service.arms.lifecycle import current_arms
from service.domain.arm import Price
from service.domain.basics import Json
from service.domain.registration import ArmRegistration, PriceChange
from tests.service.world import ARMS, LARGE, MEDIUM, SMALL

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def entry(arm_id: str, **more: object) -> Json:
    return {
        "id": arm_id,
        "provider": "simulator",
        "model": "m",
        "price": {"input": "1", "output": "2"},
        **more,
    }


def test_added_arms_come_after_the_configured_ones_oldest_first() -> None:
    registrations = {
        arm_id: ArmRegistration(arm_id, NOW + timedelta(days=days), NOW, entry=entry(arm_id))
        for arm_id, days in (("young", 2), ("old", 1))
    }

    assert [arm.arm_id for arm in current_arms(ARMS, registrations)] == [
        "small",
        "medium",
        "large",
        "old",
        "young",
    ]


def test_a_price_set_at_runtime_has_the_number_of_its_changes_as_version() -> None:
    price = Price(Decimal(7), Decimal(9))
    changes = (PriceChange(NOW, Decimal(2), Decimal(0)),) * 3
    registration = ArmRegistration("small", NOW, NOW, price=price, price_changes=changes)

    lined_up = current_arms(ARMS, {"small": registration})

    assert lined_up == [
        replace(SMALL, price=price, price_source="configured", price_version=3),
        MEDIUM,
        LARGE,
    ]


def test_a_configured_arm_wins_over_an_added_one_of_its_name() -> None:
    assert current_arms(ARMS, {"small": ArmRegistration("small", NOW, NOW, entry=entry("small"))}) == list(
        ARMS
    )


def test_an_entry_that_a_newer_version_wrote_is_left_out() -> None:
    registrations = {"new": ArmRegistration("new", NOW, NOW, entry=entry("new", knob_of_tomorrow=1))}

    assert current_arms(ARMS, registrations) == list(ARMS)


def test_a_registration_without_a_configured_arm_is_left_out() -> None:
    assert current_arms(ARMS, {"elsewhere": ArmRegistration("elsewhere", NOW, NOW)}) == list(ARMS)
