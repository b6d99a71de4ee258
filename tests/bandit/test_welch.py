from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bandit.arrays import Floats
from bandit.welch import Sample, difference
from tests.bandit.worlds import seeds

Draw = Callable[[np.random.Generator, int], Floats]


def sample_of(values: Floats) -> Sample:
    return Sample(values.size, float(values.mean()), float(values.var(ddof=1)))


def scores(mean: float) -> Draw:
    return lambda rng, n: (rng.random(n) < mean).astype(np.float64)


def dollars(mean: float) -> Draw:
    return lambda rng, n: rng.exponential(mean, n)


@given(seed=seeds, n=st.integers(2, 50), m=st.integers(2, 50), confidence=st.floats(0.5, 0.999))
def test_the_interval_is_the_one_of_welchs_t_test(seed: int, n: int, m: int, confidence: float) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.normal(1.0, 2.0, n), rng.normal(0.0, 0.5, m)

    found = difference(sample_of(first), sample_of(second), confidence)

    expected = stats.ttest_ind(first, second, equal_var=False).confidence_interval(confidence)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert found.value == pytest.approx(first.mean() - second.mean())


@pytest.mark.parametrize(
    ("draw", "other", "n", "m"),
    [
        (scores(0.8), scores(0.7), 3_000, 30),
        (scores(0.5), scores(0.5), 500, 500),
        (dollars(0.001), dollars(0.02), 3_000, 200),
    ],
    ids=["scores, few held out", "scores, as many", "dollars, few held out"],
)
def test_nineteen_in_twenty_intervals_contain_the_true_difference(
    draw: Draw, other: Draw, n: int, m: int
) -> None:
    rng, repeats = np.random.default_rng(5), 2_000
    truth = float(draw(rng, 2_000_000).mean() - other(rng, 2_000_000).mean())

    found = [difference(sample_of(draw(rng, n)), sample_of(other(rng, m)), 0.95) for _ in range(repeats)]

    coverage = np.mean([d.low <= truth <= d.high for d in found])
    assert coverage == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / repeats))


def test_swapping_the_samples_turns_the_interval_round() -> None:
    first, second = Sample(40, 0.7, 0.2), Sample(300, 0.5, 0.1)

    forward, back = difference(first, second, 0.95), difference(second, first, 0.95)

    assert (forward.value, forward.low, forward.high) == pytest.approx((-back.value, -back.high, -back.low))


def test_more_values_make_the_interval_narrower() -> None:
    many = Sample(100_000, 0.5, 0.2)

    widths = [
        d.high - d.low for n in (2, 30, 300, 3_000) for d in [difference(many, Sample(n, 0.5, 0.2), 0.95)]
    ]

    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (Sample(1, 0.5, 0.0), Sample(9, 0.5, 0.1), "two values"),
        (Sample(9, 0.5, 0.1), Sample(0, 0.0, 0.0), "two values"),
        (Sample(9, 0.5, 0.0), Sample(9, 0.4, 0.0), "neither sample varies"),
    ],
)
def test_without_a_spread_there_is_no_interval(first: Sample, second: Sample, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        difference(first, second, 0.95)
