"""What measured traffic saves in a month: from its own rate and its own saving, or nothing with a reason."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from bandit.welch import Difference
from service.evaluation.projection import (
    Saving,
    against_baseline,
    against_holdout,
    observed_days,
)
from service.evaluation.savings import Assumed, HoldoutDifference

SAVED = Assumed(spent_usd=Decimal("1"), baseline_usd=Decimal("5"))


def numbers(saving: Saving | None) -> list[float]:
    assert saving is not None
    return [usd for usd in (saving.usd, saving.low_usd, saving.high_usd) if usd is not None]


def test_a_month_is_thirty_days_of_the_measured_rate_at_the_measured_saving() -> None:
    projection = against_baseline(200, 10.0, SAVED, None)

    assert projection.per_request == Saving(0.02)
    assert projection.requests_per_day == 20.0
    assert numbers(projection.per_month) == pytest.approx([20 * 30 * 0.02])
    assert [numbers(saving) for saving in projection.at_round_numbers.values()] == [
        pytest.approx([200.0]),
        pytest.approx([2_000.0]),
        pytest.approx([20_000.0]),
    ]


def test_a_saving_against_the_holdout_keeps_its_interval_turned_around() -> None:
    found = HoldoutDifference(Difference(value=-0.02, low=-0.03, high=-0.01))

    projection = against_holdout(200, 10.0, found)

    assert projection.per_request == Saving(0.02, 0.01, 0.03)
    assert numbers(projection.at_round_numbers[10_000]) == pytest.approx([200.0, 100.0, 300.0])


def test_less_than_a_week_gives_round_numbers_and_no_month() -> None:
    projection = against_baseline(200, 6.9, SAVED, None)

    assert projection.per_month is None
    assert projection.reason_of_month == "at least 7 days of traffic are needed, got 6.9"
    assert projection.at_round_numbers[10_000] is not None


def test_less_than_a_hundred_requests_give_nothing() -> None:
    projection = against_baseline(99, 30.0, SAVED, None)

    assert projection.per_request is projection.per_month is None
    assert projection.reason == projection.reason_of_month == "at least 100 requests are needed, got 99"
    assert set(projection.at_round_numbers.values()) == {None}


@pytest.mark.parametrize("n_requests", [5, 500])
def test_a_saving_that_was_not_measured_says_why(n_requests: int) -> None:
    assert against_baseline(n_requests, 30.0, None, "no price").reason == "no price"
    assert against_holdout(n_requests, 30.0, HoldoutDifference(None, "no holdout")).reason == "no holdout"


def test_the_days_count_from_the_first_one_with_requests() -> None:
    since, until = datetime(2026, 11, 1, 6, tzinfo=UTC), datetime(2026, 11, 30, 12, tzinfo=UTC)

    assert observed_days([date(2026, 11, 28), date(2026, 11, 29)], since, until) == 2.5
    assert observed_days([date(2026, 11, 1)], since, until) == 29.25
    assert observed_days([], since, until) == 0.0
