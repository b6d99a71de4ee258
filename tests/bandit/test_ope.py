import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit.arrays import Floats, Ints
from bandit.ope import doubly_robust, ips, snips
from tests.bandit.worlds import seeds

LOGGING = np.array([0.5, 0.3, 0.2])
TARGET = np.array([0.1, 0.2, 0.7])
TRUTH = np.array([0.3, 0.5, 0.8])


def a_log(n: int, seed: int) -> tuple[Ints, Floats]:
    """Arms logged under LOGGING with Bernoulli rewards of mean TRUTH."""
    rng = np.random.default_rng(seed)
    arms = rng.choice(3, size=n, p=LOGGING)
    return arms, (rng.uniform(size=n) < TRUTH[arms]).astype(np.float64)


@given(seed=seeds, n=st.integers(2, 200))
def test_on_policy_value_is_the_plain_mean(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    rewards, propensities = rng.uniform(size=n), rng.uniform(0.01, 1.0, n)

    for estimate in (
        ips(rewards, propensities, propensities),
        snips(rewards, propensities, propensities),
        doubly_robust(rewards, propensities, propensities, np.full(n, 0.4), np.full(n, 0.4)),
    ):
        assert estimate.value == pytest.approx(rewards.mean())
        assert estimate.standard_error == pytest.approx(rewards.std() / np.sqrt(n))
        assert estimate.effective_n == pytest.approx(n)


@pytest.mark.parametrize("seed", range(5))
def test_estimates_are_within_four_standard_errors_of_the_truth(seed: int) -> None:
    arms, rewards = a_log(4000, seed)
    truth = TARGET @ TRUTH
    predicted = np.array([0.4, 0.4, 0.7])

    for estimate in (
        ips(rewards, LOGGING[arms], TARGET[arms]),
        snips(rewards, LOGGING[arms], TARGET[arms]),
        doubly_robust(
            rewards, LOGGING[arms], TARGET[arms], predicted[arms], np.full(4000, TARGET @ predicted)
        ),
    ):
        assert abs(estimate.value - truth) < 4 * estimate.standard_error


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    truth = TARGET @ TRUTH

    covered = 0
    for seed in range(400):
        arms, rewards = a_log(1000, seed)
        estimate = snips(rewards, LOGGING[arms], TARGET[arms])
        covered += abs(estimate.value - truth) < 1.96 * estimate.standard_error

    assert covered / 400 == pytest.approx(0.95, abs=0.03)


def test_more_rounds_narrow_the_interval() -> None:
    errors = []
    for n in (500, 5000):
        arms, rewards = a_log(n, seed=7)
        errors.append(ips(rewards, LOGGING[arms], TARGET[arms]).standard_error)

    assert errors[1] < errors[0]


def test_true_predictions_narrow_the_interval() -> None:
    arms, rewards = a_log(2000, seed=3)

    plain = ips(rewards, LOGGING[arms], TARGET[arms])
    robust = doubly_robust(rewards, LOGGING[arms], TARGET[arms], TRUTH[arms], np.full(2000, TARGET @ TRUTH))

    assert robust.standard_error < plain.standard_error


def test_snips_of_two_rounds_is_the_weighted_mean_worked_by_hand() -> None:
    estimate = snips(np.array([1.0, 0.0]), np.array([0.5, 0.25]), np.array([0.5, 0.75]))

    assert estimate.value == pytest.approx(1 / 4)
    assert estimate.standard_error == pytest.approx(np.sqrt(0.75**2 + 0.75**2) / 4)
    assert estimate.effective_n == pytest.approx(16 / 10)


@pytest.mark.parametrize(
    ("rewards", "propensities", "target_probs", "message"),
    [
        ([1.0], [0.5, 0.5], [1.0], "differ in shape"),
        ([], [], [], "at least one round"),
        ([1.0], [0.0], [1.0], r"in \(0, 1\]"),
        ([1.0], [1.5], [1.0], r"in \(0, 1\]"),
        ([1.0], [0.5], [0.0], "never takes a logged arm"),
    ],
)
def test_a_log_that_cannot_answer_is_refused(
    rewards: list[float], propensities: list[float], target_probs: list[float], message: str
) -> None:
    for estimator in (ips, snips):
        with pytest.raises(ValueError, match=message):
            estimator(np.array(rewards), np.array(propensities), np.array(target_probs))


def test_predictions_of_another_length_are_refused() -> None:
    ones = np.ones(2)

    with pytest.raises(ValueError, match="differ in shape"):
        doubly_robust(ones, ones, ones, np.ones(3), ones)
