import pytest

from bandit.baselines import AlwaysOneArm, EpsilonGreedy, Uniform
from bandit.knobs import Knobs
from tests.bandit.worlds import beliefs_after

KNOBS = Knobs(cost_weight=0.0)
BELIEFS = beliefs_after([100, 100, 100], [0.5, 0.9, 0.7], KNOBS)


def test_uniform_treats_every_arm_alike() -> None:
    assert Uniform().probabilities(BELIEFS) == pytest.approx([1 / 3] * 3)


def test_always_one_arm_never_takes_another() -> None:
    assert AlwaysOneArm(2).probabilities(BELIEFS).tolist() == [0.0, 0.0, 1.0]


def test_epsilon_greedy_takes_the_best_and_at_epsilon_any_other() -> None:
    assert EpsilonGreedy(KNOBS, epsilon=0.1).probabilities(BELIEFS) == pytest.approx([0.05, 0.9, 0.05])


def test_epsilon_greedy_shares_a_tie() -> None:
    tied = beliefs_after([0, 0], [0, 0], KNOBS)

    assert EpsilonGreedy(KNOBS, epsilon=0.0).probabilities(tied).tolist() == [0.5, 0.5]
