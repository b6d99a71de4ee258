from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from service.domain.arm import Price
from service.domain.traffic import TrafficTotals
from service.evaluation.savings import (
    MIN_SAMPLE,
    HoldoutDifference,
    Moments,
    assumed_savings,
    costs_of,
    holdout_difference,
    rewards_of,
)


def moments(values: list[str]) -> Moments:
    exact = [Decimal(value) for value in values]
    return Moments(len(exact), sum(exact, Decimal(0)), sum((value**2 for value in exact), Decimal(0)))


def test_the_baseline_prices_the_same_tokens() -> None:
    totals = TrafficTotals(
        cost_usd=Decimal("0.5"), prompt_tokens=2_000_000, cached_tokens=500_000, completion_tokens=1_000_000
    )

    result = assumed_savings(totals, Price(Decimal("1"), Decimal("4"), cached_input=Decimal("0.1")))

    assert result.baseline_usd == Decimal("1.5") + Decimal("0.05") + Decimal("4")
    assert result.saved_usd == Decimal("5.05")
    assert result.saved_share == Decimal("5.05") / Decimal("5.55")


def test_a_free_baseline_has_no_saved_share() -> None:
    result = assumed_savings(TrafficTotals(cost_usd=Decimal("0.5")), Price(Decimal(1), Decimal(1)))

    assert result.saved_usd == Decimal("-0.5")
    assert result.saved_share is None


def test_a_sample_is_computed_from_exact_sums() -> None:
    values = ["0.000000001", "1000.000000001", "1000.000000003", "1000.000000002"]

    sample = moments(values).sample()

    floats = np.array([float(value) for value in values])
    assert sample.n == 4
    assert sample.mean == pytest.approx(floats.mean())
    assert sample.variance == pytest.approx(floats.var(ddof=1))


def test_a_tiny_variance_is_not_lost() -> None:
    sample = moments(["1000000.000000001", "1000000.000000003"]).sample()

    assert sample.variance == pytest.approx(2e-18)


def test_dollars_are_per_finished_request_and_rewards_per_rated_one() -> None:
    totals = TrafficTotals(
        n_requests=9, n_ok=2, n_failed=1, n_cancelled=1, cost_usd=Decimal(2), n_rated=3, reward=Decimal(1)
    )

    assert costs_of(totals).mean == 0.5
    assert rewards_of(totals).mean == pytest.approx(1 / 3)
    assert costs_of(TrafficTotals()).mean is None


@pytest.mark.parametrize(("routed", "held_out"), [(MIN_SAMPLE - 1, 500), (500, MIN_SAMPLE - 1), (0, 0)])
def test_too_few_requests_on_either_side_give_no_interval(routed: int, held_out: int) -> None:
    result = holdout_difference(moments(["0.5"] * routed), moments(["0.4"] * held_out))

    assert result.difference is None
    assert result.reason == f"at least 30 of each are needed, got {routed} routed and {held_out} held out"


def test_the_least_number_of_requests_gives_an_interval() -> None:
    few = moments(["0", "1"] * (MIN_SAMPLE // 2))

    result = holdout_difference(moments(["0.5", "1"] * 1_000), few)

    assert result.reason is None
    assert result.difference is not None
    assert result.difference.value == pytest.approx(0.25)
    assert result.difference.low < 0.25 < result.difference.high


def test_samples_without_variance_give_no_interval() -> None:
    result = holdout_difference(moments(["1"] * 40), moments(["0.123456"] * 40))

    assert result == HoldoutDifference(None, "neither side varies, so no interval can be computed")
