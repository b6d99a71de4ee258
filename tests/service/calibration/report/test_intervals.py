from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bandit.arrays import Floats
from service.calibration.report.intervals import (
    Interval,
    amount_interval,
    effective_n,
    quality_interval,
    resamples,
    standard_error2,
)

N_TRIALS = 600


def missed(
    draw: Callable[[np.random.Generator], tuple[Floats, Floats]],
    interval: Callable[[Floats, Floats], Interval | None],
    truth: float,
) -> float:
    """The share of intervals that do not contain the truth."""
    rng = np.random.default_rng(5)
    found = [interval(*draw(rng)) for _ in range(N_TRIALS)]
    return sum(1 for i in found if i is None or not i.low <= truth <= i.high) / N_TRIALS


@pytest.mark.parametrize("n", [20, 100])
@pytest.mark.parametrize("chance", [0.5, 0.8, 0.96])
@pytest.mark.parametrize("spread", [0.0, 0.6])
def test_quality_intervals_miss_the_truth_as_seldom_as_they_say(n: int, chance: float, spread: float) -> None:
    def draw(rng: np.random.Generator) -> tuple[Floats, Floats]:
        return rng.binomial(1, chance, n).astype(np.float64), rng.lognormal(0.0, spread, n)

    assert missed(draw, quality_interval, chance) <= 0.075


@pytest.mark.parametrize(("a", "b"), [(8.0, 2.0), (2.0, 1.0)])
def test_intervals_of_graded_scores_cover_and_are_narrower_than_those_of_ones_and_zeros(
    a: float, b: float
) -> None:
    def draw(rng: np.random.Generator) -> tuple[Floats, Floats]:
        return rng.beta(a, b, 100), np.ones(100)

    scores, weights = draw(np.random.default_rng(1))
    mean = float(scores.mean())
    graded = quality_interval(scores, weights)
    binary = quality_interval((np.arange(100) < 100 * mean).astype(np.float64), weights)

    assert missed(draw, quality_interval, a / (a + b)) <= 0.075
    assert graded is not None
    assert binary is not None
    assert graded.high - graded.low < 0.8 * (binary.high - binary.low)


@pytest.mark.parametrize("score", [0.0, 1.0, 0.5])
def test_equal_scores_do_not_close_the_interval(score: float) -> None:
    interval = quality_interval(np.full(20, score), np.ones(20))

    assert interval is not None
    assert interval.value == score
    assert 0 <= interval.low <= score <= interval.high <= 1
    assert interval.high - interval.low > 0.05


@pytest.mark.parametrize(("spread", "most"), [(0.5, 0.085), (1.0, 0.12)])
def test_amount_intervals_miss_the_truth_about_as_seldom_as_they_say(spread: float, most: float) -> None:
    def draw(rng: np.random.Generator) -> tuple[Floats, Floats]:
        return rng.lognormal(0.0, spread, 100), np.ones(100)

    assert missed(draw, amount_interval, float(np.exp(spread**2 / 2))) <= most


def test_nothing_known_has_no_interval() -> None:
    assert quality_interval(np.zeros(0), np.zeros(0)) is None
    assert amount_interval(np.zeros(0), np.zeros(0)) is None


def test_one_amount_says_nothing_about_its_spread_and_free_answers_are_free() -> None:
    assert amount_interval(np.array([3.0]), np.ones(1)) == Interval(3.0, 0.0, float("inf"))
    assert amount_interval(np.zeros(9), np.ones(9)) == Interval(0.0, 0.0, 0.0)


def test_the_unit_of_an_amount_does_not_matter() -> None:
    amounts = np.array([1.0, 2.0, 7.0])
    small, large = (amount_interval(scale * amounts, np.ones(3)) for scale in (1e-6, 1.0))

    assert small is not None
    assert large is not None
    assert small.high * 1e6 == pytest.approx(large.high)


def test_weights_move_the_mean_and_unequal_ones_widen_the_interval() -> None:
    scores = np.array([1.0, 0.0] * 50)
    even = quality_interval(scores, np.ones(100))
    uneven = quality_interval(scores, np.array([3.0, 1.0] * 50))

    assert even is not None
    assert uneven is not None
    assert (even.value, uneven.value) == (0.5, 0.75)
    assert effective_n(np.array([3.0, 1.0] * 50)) == 80.0


def test_the_standard_error_of_equal_weights_is_the_textbook_one() -> None:
    values = np.array([1.0, 2.0, 4.0, 9.0])

    assert standard_error2(values, np.ones(4)) == pytest.approx(values.var(ddof=1) / 4)


def test_resamples_are_the_same_every_time() -> None:
    assert np.array_equal(resamples(7), resamples(7))
    assert (resamples(7).sum(axis=1) == 7).all()
