import numpy as np
import pytest

from bandit.arrays import Floats, Ints
from bandit.ease import LEAST_RATED, MOST_RATED, Ease, is_due

D = 40


def rated(n: int = 400, seed: int = 0, noise: float = 0.2) -> tuple[Floats, Ints, Floats, Floats, Floats]:
    """Contexts, arms, rewards and weights, and the true ease of each request."""
    rng = np.random.default_rng(seed)
    contexts = rng.normal(size=(n, D)) * np.linspace(1.0, 0.05, D)
    contexts /= np.linalg.norm(contexts, axis=1, keepdims=True)
    truth = 0.3 * contexts[:, 0] - 0.2 * contexts[:, 1]
    arm = rng.integers(0, 4, n)
    rewards = np.array([0.2, 0.4, 0.6, 0.8])[arm] + truth + rng.normal(0.0, noise, n)
    return contexts, arm, rewards, rng.uniform(0.2, 1.0, n), truth


def test_the_fit_finds_the_ease_that_all_arms_share() -> None:
    contexts, arm, rewards, weights, truth = rated(n=1000)

    found = Ease.fit(contexts, arm, rewards, weights).at(contexts)

    assert np.corrcoef(found, truth)[0, 1] > 0.9


def test_the_slope_is_shrunk_by_three_requests_of_ridge() -> None:
    sign = np.tile([1.0, -1.0], 8)
    contexts = np.outer(sign, [0.3, 0.4])

    ease = Ease.fit(contexts, np.zeros(16, dtype=np.int64), 0.5 + 0.2 * sign, np.ones(16))

    assert ease.at(contexts) == pytest.approx(0.2 * sign * 16 / (16 + 3))


def test_differences_between_arms_do_not_change_the_slope() -> None:
    contexts, arm, rewards, weights, _ = rated()

    ease = Ease.fit(contexts, arm, rewards, weights)
    shifted = Ease.fit(contexts, arm, rewards + np.array([5.0, 0.0, -3.0, 1.0])[arm], weights)

    np.testing.assert_allclose(shifted.slope, ease.slope, atol=1e-9)


def test_one_arm_alone_is_enough_to_fit_ease() -> None:
    contexts, _, _, weights, truth = rated(n=1000)

    found = Ease.fit(contexts, np.zeros(1000, dtype=np.int64), 0.5 + truth, weights).at(contexts)

    assert np.corrcoef(found, truth)[0, 1] > 0.9


def test_one_rating_per_arm_gives_no_slope() -> None:
    contexts, _, rewards, weights, _ = rated(n=50)

    found = Ease.fit(contexts, np.arange(50), rewards, weights)

    assert found.at(contexts) == pytest.approx(0, abs=1e-12)


def test_ratings_of_little_weight_change_little() -> None:
    contexts, arm, rewards, weights, _ = rated()
    late = np.arange(arm.size) >= 200

    changed = Ease.fit(contexts, arm, np.where(late, 1 - rewards, rewards), np.where(late, 1e-6, weights))
    ease = Ease.fit(contexts, arm, rewards, np.where(late, 1e-6, weights))

    np.testing.assert_allclose(changed.slope, ease.slope, atol=1e-4)


def test_the_order_of_requests_and_the_names_of_arms_do_not_matter() -> None:
    contexts, arm, rewards, weights, _ = rated()
    order = np.random.default_rng(1).permutation(arm.size)

    ease = Ease.fit(contexts, arm, rewards, weights)
    other = Ease.fit(contexts[order], 7 - arm[order], rewards[order], weights[order])

    np.testing.assert_allclose(other.at(contexts), ease.at(contexts), atol=1e-9)


def test_random_rewards_give_little_ease() -> None:
    contexts, arm, _, weights, _ = rated(n=2000)
    rewards = np.random.default_rng(2).integers(0, 2, arm.size).astype(np.float64)

    found = Ease.fit(contexts, arm, rewards, weights).at(contexts)

    assert found.std() < 0.1


def test_ease_averages_zero_over_the_fitted_requests() -> None:
    contexts, arm, rewards, weights, _ = rated()

    assert Ease.fit(contexts, arm, rewards, weights).at(contexts).mean() == pytest.approx(0, abs=1e-12)


def test_one_context_has_the_same_ease_as_in_a_list() -> None:
    contexts, arm, rewards, weights, _ = rated()
    ease = Ease.fit(contexts.astype(np.float32), arm, rewards, weights)

    assert float(ease.at(contexts[3])) == pytest.approx(float(ease.at(contexts)[3]))


def test_identical_contexts_give_no_slope() -> None:
    contexts = np.tile(np.full(D, D**-0.5, dtype=np.float32), (50, 1))
    rewards = np.random.default_rng(0).uniform(size=50)

    ease = Ease.fit(contexts, np.zeros(50, dtype=np.int64), rewards, np.ones(50))

    assert ease.at(contexts).tolist() == [0.0] * 50


def test_shapes_that_differ_are_refused() -> None:
    contexts, arm, rewards, weights, _ = rated(n=10)

    with pytest.raises(ValueError, match="each with one group, reward and weight"):
        Ease.fit(contexts, arm[:-1], rewards, weights)
    with pytest.raises(ValueError, match="at least two contexts"):
        Ease.fit(contexts[:1], arm[:1], rewards[:1], weights[:1])


def test_a_fit_is_due_after_enough_ratings_and_at_the_latest_after_a_quarter_of_the_most_it_uses() -> None:
    assert not is_due(LEAST_RATED - 1, 0)
    assert is_due(LEAST_RATED, 0)
    assert not is_due(99, 80)
    assert is_due(100, 80)
    assert is_due(1e6 + MOST_RATED / 4, 1e6)
