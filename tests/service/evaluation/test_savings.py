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
    assumed,
    costs_of,
    measured,
    rewards_of,
)


def moments(values: list[str]) -> Moments:
    exact = [Decimal(value) for value in values]
    return Moments(len(exact), sum(exact, Decimal(0)), sum((value**2 for value in exact), Decimal(0)))


def test_the_baseline_would_have_charged_its_prices_for_the_same_tokens() -> None:
    totals = TrafficTotals(
        cost_usd=Decimal("0.5"), prompt_tokens=2_000_000, cached_tokens=500_000, completion_tokens=1_000_000
    )

    found = assumed(totals, Price(Decimal("1"), Decimal("4"), cached_input=Decimal("0.1")))

    assert found.baseline_usd == Decimal("1.5") + Decimal("0.05") + Decimal("4")
    assert found.saved_usd == Decimal("5.05")
    assert found.saved_share == Decimal("5.05") / Decimal("5.55")


def test_of_a_free_baseline_no_share_is_saved() -> None:
    found = assumed(TrafficTotals(cost_usd=Decimal("0.5")), Price(Decimal(1), Decimal(1)))

    assert found.saved_usd == Decimal("-0.5")
    assert found.saved_share is None


def test_a_sample_is_told_by_its_exact_sums() -> None:
    values = ["0.000000001", "1000.000000001", "1000.000000003", "1000.000000002"]

    sample = moments(values).sample()

    floats = np.array([float(value) for value in values])
    assert sample.n == 4
    assert sample.mean == pytest.approx(floats.mean())
    assert sample.variance == pytest.approx(floats.var(ddof=1))


def test_values_that_are_nearly_alike_keep_their_spread() -> None:
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
def test_too_few_on_either_side_tell_nothing(routed: int, held_out: int) -> None:
    found = measured(moments(["0.5"] * routed), moments(["0.4"] * held_out))

    assert found.difference is None
    assert found.reason == f"at least 30 of each are needed, got {routed} routed and {held_out} held out"


def test_from_the_least_number_on_there_is_an_interval() -> None:
    few = moments(["0", "1"] * (MIN_SAMPLE // 2))

    found = measured(moments(["0.5", "1"] * 1_000), few)

    assert found.reason is None
    assert found.difference is not None
    assert found.difference.value == pytest.approx(0.25)
    assert found.difference.low < 0.25 < found.difference.high


def test_what_never_varies_gives_no_interval() -> None:
    found = measured(moments(["1"] * 40), moments(["0.123456"] * 40))

    assert found == HoldoutDifference(None, "neither side varies, so nothing tells how far chance reaches")
