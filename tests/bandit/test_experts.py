import numpy as np
import pytest
from hypothesis import given

from bandit.experts import PRIOR_WEIGHTS, expert_weights, residual_variance, sharpness
from tests.bandit.worlds import seeds


def test_before_any_error_experts_have_their_prior_weights() -> None:
    assert expert_weights(np.zeros(3), 0.0).tolist() == pytest.approx(PRIOR_WEIGHTS.tolist())


@given(seed=seeds)
def test_weights_sum_to_one_and_fall_with_the_error(seed: int) -> None:
    errors = np.random.default_rng(seed).uniform(0.0, 1000.0, 3)

    weights = expert_weights(errors, 5000.0)
    worse = expert_weights(errors + np.array([1.0, 0.0, 0.0]), 5000.0)

    assert weights.sum() == pytest.approx(1.0)
    assert worse[0] <= weights[0]


def test_the_variance_is_that_of_the_errors_once_there_are_many() -> None:
    variance = residual_variance(np.array([0.0, 2000.0]), np.array([0.0, 10_000.0]))

    assert variance.tolist() == pytest.approx([0.15, 0.2], rel=1e-3)


def test_an_observation_counts_for_more_where_context_explains_the_reward() -> None:
    mean = np.full(3, 0.5)

    worth = sharpness(mean, np.array([0.25, 0.125, 0.0001]))

    assert worth.tolist() == pytest.approx([4.0, 8.0, 30.0])
