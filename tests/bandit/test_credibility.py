import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit.arrays import Floats
from bandit.credibility import Means, at_shared_level, credible_means
from tests.bandit.worlds import seeds


def means_of(prior: list[float], calls: list[list[float]]) -> Means:
    n = np.array([len(c) for c in calls], dtype=np.float64)
    total, squares = (np.array([float(np.sum(np.power(c, p))) for c in calls]) for p in (1, 2))
    return credible_means(np.array(prior), n, total, squares)


def lognormal(mean: float, sigma: float, n: int, seed: int) -> Floats:
    normal = np.random.default_rng(seed).normal(size=n)
    return np.asarray(mean * np.exp(sigma * normal - sigma**2 / 2))


def test_without_calls_the_mean_is_the_prior_and_most_is_doubted() -> None:
    means = means_of([0.002, 3.0], [[], []])

    assert means.mean.tolist() == pytest.approx([0.002, 3.0])
    assert means.error.tolist() == pytest.approx([0.2**0.5 * 0.002, 0.2**0.5 * 3.0])


def test_many_calls_outweigh_the_prior_and_leave_little_doubt() -> None:
    means = means_of([1.0], [[4.0] * 1000])

    assert means.mean[0] == pytest.approx(4.0, rel=0.01)
    assert means.error[0] < 0.1


def test_steady_calls_move_the_mean_at_once() -> None:
    means = means_of([1.0, 1.0], [[2.0, 2.0], [1.0] * 200])

    assert means.mean[0] == pytest.approx(5 / 3, rel=0.1)


@given(seed=seeds)
def test_two_dear_calls_among_calls_of_all_sizes_say_little(seed: int) -> None:
    usual = lognormal(1.0, 1.5, 200, seed).tolist()

    means = means_of([1.0, 1.0], [[12.0, 9.0], usual])

    assert means.mean[0] < 5.0  # twice a prior of two calls would have made it 5.75
    assert means.error[0] > 0.3 * means.mean[0]


def test_one_huge_call_does_not_hide_in_its_own_mean() -> None:
    assert means_of([1.0], [[1000.0]]).mean[0] < 0.1 * 1000.0


@given(
    prior=st.lists(st.floats(0.0, 10.0), min_size=1, max_size=6),
    seed=seeds,
    lag=st.floats(-2.0, 1.0),
)
def test_means_are_finite_also_of_squares_that_lag_behind(prior: list[float], seed: int, lag: float) -> None:
    rng = np.random.default_rng(seed)
    n = rng.integers(0, 50, len(prior)).astype(np.float64)
    total = n * rng.uniform(0.0, 5.0, len(prior))

    means = credible_means(np.array(prior), n, total, lag * total**2)

    low = np.minimum(prior, np.divide(total, n, out=np.array(prior), where=n > 0))
    high = np.maximum(prior, np.divide(total, n, out=np.array(prior), where=n > 0))
    assert ((means.mean >= low - 1e-9) & (means.mean <= high + 1e-9)).all()
    assert (np.isfinite(means.error) & (means.error >= 0)).all()


def test_an_arm_that_was_never_called_is_expected_to_be_as_fast_as_the_others() -> None:
    usual_s = at_shared_level(np.ones(3), np.array([200.0, 200.0, 0.0]), np.array([2.0, 2.0, 0.0]))

    assert usual_s[2] == pytest.approx(0.01 ** (2 / 2.5), rel=0.05)
    assert usual_s.tolist() == [usual_s[0]] * 3


def test_without_calls_the_level_is_the_prior() -> None:
    assert at_shared_level(np.ones(2), np.zeros(2), np.zeros(2)).tolist() == [1.0, 1.0]
