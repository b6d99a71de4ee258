"""Relative prior qualities: measured on other requests than these."""

from dataclasses import replace

import numpy as np
import pytest

from bandit.evidence import Sums
from bandit.knobs import Knobs
from bandit.prior import RELATIVE_HEAD_START, Prior, relative_offset
from bandit.records import ArmRecords

TABLE = np.array([0.9, 0.85, 0.8])


def prior_after(n: list[float], mean: list[float], is_relative: list[bool] | None = None) -> Prior:
    rated = np.array(n)
    records = ArmRecords.from_sums(replace(Sums.zeros(3), n=rated, reward_sum=rated * np.array(mean)))
    relative = np.ones(3, dtype=np.bool_) if is_relative is None else np.array(is_relative)
    unknown = np.full(3, np.nan)
    return Prior.of(TABLE, unknown, np.ones(3), np.ones(3), Knobs(), records, is_relative=relative)


def test_before_the_first_rating_relative_qualities_are_the_tables() -> None:
    prior = prior_after([0, 0, 0], [0, 0, 0])

    assert prior.offset == 0.0
    assert prior.mean.tolist() == pytest.approx((TABLE + RELATIVE_HEAD_START).tolist())


def test_on_hard_requests_the_ratings_of_one_arm_lower_every_relative_arm_alike() -> None:
    prior = prior_after([10, 0, 0], [0.3, 0, 0])

    assert prior.offset == pytest.approx(10 * (0.3 - 0.9) / 15)
    assert np.diff(prior.mean).tolist() == pytest.approx(np.diff(TABLE).tolist())


def test_a_busy_arm_counts_as_ten_ratings() -> None:
    assert prior_after([1000, 0, 0], [0.3, 0, 0]).offset == prior_after([10, 0, 0], [0.3, 0, 0]).offset


def test_the_offset_follows_the_ratings_of_all_arms() -> None:
    assert relative_offset(TABLE, np.full(3, 100.0), 100 * (TABLE - 0.5)) == pytest.approx(-0.5 * 30 / 35)


def test_the_operators_own_figures_are_not_moved_and_move_nothing() -> None:
    prior = prior_after([50, 0, 0], [0.2, 0, 0], [False, True, True])

    assert prior.offset == 0.0
    assert prior.mean[0] == 0.9


def test_relative_qualities_stay_probabilities() -> None:
    for mean in (0.0, 1.0):
        prior = prior_after([10, 10, 10], [mean] * 3)
        assert ((prior.mean > 0) & (prior.mean < 1)).all()


def test_an_arm_without_a_figure_starts_at_the_level_that_the_ratings_show() -> None:
    quality = np.array([0.9, 0.85, np.nan])
    rated = np.array([30.0, 30.0, 0.0])
    records = ArmRecords.from_sums(replace(Sums.zeros(3), n=rated, reward_sum=rated * 0.3))

    prior = Prior.of(
        quality,
        np.full(3, np.nan),
        np.ones(3),
        np.ones(3),
        Knobs(),
        records,
        price=np.ones(3),
        is_relative=np.array([True, True, False]),
    )

    assert prior.mean[2] < 0.5


def test_pooled_ratings_count_as_a_bounded_number_of_observations() -> None:
    own = Prior(np.array([0.5, 0.5, 0.5]), np.array([5.0, 5.0, 5.0]), np.ones(3), np.ones(3))

    pooled = own.with_pooled(np.array([0.0, 2.0, 1000.0]), np.array([0.0, 2.0, 900.0]), 10.0)

    assert pooled.mass.tolist() == [5.0, 7.0, 15.0]
    assert pooled.mean.tolist() == pytest.approx([0.5, (2.5 + 2.0) / 7, (2.5 + 9.0) / 15])


def test_pooled_ratings_below_the_bound_count_as_own_ones_would() -> None:
    own = Prior(np.array([0.5]), np.array([5.0]), np.ones(1), np.ones(1))
    n, reward_sum = np.array([4.0]), np.array([3.0])

    pooled = own.with_pooled(n, reward_sum, 10.0)

    assert pooled.mass * pooled.mean == pytest.approx(own.mass * own.mean + reward_sum)
