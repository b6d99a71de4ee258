from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit.arrays import Floats, Ints
from bandit.ope import LARGEST_WEIGHT, Estimate, Forecast, Overlap, compare, joined, snips
from tests.bandit.worlds import seeds

LOGGING = np.array([0.5, 0.3, 0.2])
TARGET = np.array([0.1, 0.2, 0.7])
TRUTH = np.array([0.3, 0.5, 0.8])
GUESS = np.full(3, 0.4)
ESTIMATORS = ["ips", "snips", "doubly_robust"]


def a_log(n: int, seed: int, logging: Floats = LOGGING) -> tuple[Ints, Floats]:
    """The arms drawn, and their Bernoulli rewards of mean TRUTH."""
    rng = np.random.default_rng(seed)
    arms = rng.choice(3, size=n, p=logging)
    return arms, (rng.uniform(size=n) < TRUTH[arms]).astype(np.float64)


def judged(
    arms: Ints, logging: Floats = LOGGING, target: Floats = TARGET, predicted: Floats = GUESS
) -> tuple[Overlap, Forecast]:
    """A candidate and predictions that are the same in every round."""
    n = arms.size
    p, pi, q = np.tile(logging, (n, 1)), np.tile(target, (n, 1)), np.tile(predicted, (n, 1))
    return Overlap.of(p, pi, arms), Forecast.of(p, pi, arms, q, q * (1 - q))


@given(seed=seeds, n=st.integers(2, 200), n_arms=st.integers(1, 6))
def test_a_policys_own_log_gives_the_plain_mean(seed: int, n: int, n_arms: int) -> None:
    rng = np.random.default_rng(seed)
    raw, q = rng.uniform(0.001, 1.0, (n, n_arms)), np.full((n, n_arms), 0.4)
    p = raw / raw.sum(axis=1, keepdims=True)
    arms, rewards = rng.integers(0, n_arms, n), rng.uniform(size=n)
    overlap = Overlap.of(p, p, arms)

    for comparison in compare(rewards, overlap, Forecast.of(p, p, arms, q, q)).values():
        assert comparison.candidate.value == pytest.approx(rewards.mean())
        assert comparison.difference.value == pytest.approx(0, abs=1e-9)
        assert comparison.difference.standard_error == pytest.approx(0, abs=1e-9)
    assert overlap.lost == pytest.approx(0, abs=1e-9)
    assert overlap.effective_n == pytest.approx(n)


@pytest.mark.parametrize("seed", range(5))
def test_estimates_are_within_four_standard_errors_of_the_truth(seed: int) -> None:
    arms, rewards = a_log(4000, seed)

    for comparison in compare(rewards, *judged(arms)).values():
        candidate, difference = comparison.candidate, comparison.difference
        assert abs(candidate.value - TARGET @ TRUTH) < 4 * candidate.standard_error
        assert abs(difference.value - (TARGET - LOGGING) @ TRUTH) < 4 * difference.standard_error


@pytest.mark.parametrize("name", ESTIMATORS)
def test_intervals_cover_the_truth_as_often_as_they_say(name: str) -> None:
    truth = TARGET @ TRUTH

    covered = 0
    for seed in range(400):
        arms, rewards = a_log(1000, seed)
        estimate = compare(rewards, *judged(arms))[name].candidate
        covered += estimate.low < truth < estimate.high

    assert covered / 400 == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_choice_that_is_hardly_ever_drawn_does_not_make_the_difference_look_certain(name: str) -> None:
    logging, target = np.array([0.998, 0.001, 0.001]), np.array([0.98, 0.01, 0.01])
    truth = (target - logging) @ TRUTH

    covered = 0
    for seed in range(400):
        arms, rewards = a_log(1000, seed, logging)
        estimate = compare(rewards, *judged(arms, logging, target, TRUTH))[name].difference
        covered += estimate.low < truth < estimate.high

    assert covered / 400 > 0.92


def test_more_rounds_narrow_the_interval() -> None:
    few, many = (a_log(n, seed=7) for n in (500, 5000))

    for name in ESTIMATORS:
        less, more = (compare(rewards, *judged(arms))[name].candidate for arms, rewards in (few, many))
        assert more.standard_error < less.standard_error


def test_true_predictions_narrow_the_interval() -> None:
    arms, rewards = a_log(2000, seed=3)

    by = compare(rewards, *judged(arms, predicted=TRUTH))

    assert by["doubly_robust"].candidate.standard_error < by["ips"].candidate.standard_error


def test_snips_of_two_rounds_is_the_weighted_mean_worked_by_hand() -> None:
    overlap = Overlap.of(
        np.array([[0.5, 0.5], [0.75, 0.25]]), np.array([[0.5, 0.5], [0.25, 0.75]]), np.arange(2)
    )

    estimate = Estimate.of(snips(np.array([1.0, 0.0]), overlap))

    assert overlap.weight.tolist() == [1.0, 3.0]
    assert estimate.value == pytest.approx(1 / 4)
    assert estimate.standard_error == pytest.approx(np.sqrt(0.75**2 + 0.75**2) / 4)


def test_what_the_log_hardly_ever_chose_has_no_support() -> None:
    p = np.array([[0.99, 0.01]])
    much, little = (
        np.array([[1 - x, x]]) for x in (1.01 * LARGEST_WEIGHT * 0.01, 0.99 * LARGEST_WEIGHT * 0.01)
    )

    assert Overlap.of(p, much, np.array([0])).lost == pytest.approx(much[0, 1])
    assert Overlap.of(p, little, np.array([0])).lost == pytest.approx(0)
    assert Overlap.of(p, much, np.array([1])).weight.tolist() == [0.0]
    assert Overlap.of(np.array([[1.0, 0.0]]), little, np.array([0])).lost == pytest.approx(little[0, 1])


def test_support_does_not_depend_on_what_was_drawn() -> None:
    arms, _ = a_log(500, seed=0)
    usual, lucky = judged(arms)[0], judged(np.zeros(500, dtype=np.int64))[0]

    assert (usual.lost, usual.effective_n) == (lucky.lost, lucky.effective_n)
    assert usual.effective_n == pytest.approx(500 / (TARGET**2 / LOGGING).sum())


def test_too_thin_a_log_is_not_enough() -> None:
    arms, _ = a_log(800, seed=0)
    few, enough = (judged(arms[:n])[0] for n in (400, 800))
    barred = replace(enough, kept=np.full(800, 0.99))

    assert (few.is_enough, enough.is_enough, barred.is_enough) == (False, True, False)


def test_parts_of_a_log_join_to_the_whole() -> None:
    arms, rewards = a_log(100, seed=1)
    parts = [judged(arms[:30]), judged(arms[30:])]

    whole = compare(rewards, joined([o for o, _ in parts]), joined([f for _, f in parts]))

    assert whole == compare(rewards, *judged(arms))


@pytest.mark.parametrize(
    ("propensities", "target", "arm", "message"),
    [
        ([[0.5, 0.5]], [[1.0]], [0], "differ in shape"),
        ([[0.5, 0.5]], [[0.5, 0.5]], [0, 0], "differ in shape"),
        (np.zeros((0, 2)), np.zeros((0, 2)), [], "at least one round"),
        ([[0.0, 1.0]], [[0.5, 0.5]], [0], r"in \(0, 1\]"),
    ],
)
def test_a_log_that_makes_no_sense_is_refused(
    propensities: list[list[float]], target: list[list[float]], arm: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Overlap.of(np.array(propensities), np.array(target), np.array(arm, dtype=np.int64))


def test_intervals_cover_if_the_log_follows_its_own_rewards() -> None:
    n_logs, n = 400, 800
    rng = np.random.default_rng(5)
    count, total = np.ones((n_logs, 3)), np.full((n_logs, 3), 0.5)
    p, arms, rewards = np.zeros((n, n_logs, 3)), np.zeros((n, n_logs), dtype=np.int64), np.zeros((n, n_logs))
    for t in range(n):
        best = np.eye(3)[(total / count).argmax(axis=1)]
        p[t] = 0.1 + 0.7 * best
        arms[t] = (rng.uniform(size=(n_logs, 1)) > p[t].cumsum(axis=1)).sum(axis=1).clip(0, 2)
        rewards[t] = rng.uniform(size=n_logs) < TRUTH[arms[t]]
        count[np.arange(n_logs), arms[t]] += 1
        total[np.arange(n_logs), arms[t]] += rewards[t]

    pi, q = np.tile(TARGET, (n, 1)), np.tile(GUESS, (n, 1))
    covered = [
        by.candidate.low < TARGET @ TRUTH < by.candidate.high
        for log in range(n_logs)
        for by in compare(
            rewards[:, log],
            Overlap.of(p[:, log], pi, arms[:, log]),
            Forecast.of(p[:, log], pi, arms[:, log], q, q),
        ).values()
    ]

    assert np.mean(covered) == pytest.approx(0.95, abs=0.03)
