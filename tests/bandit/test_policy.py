from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit.knobs import Knobs
from bandit.policy import Holdout, ThompsonPolicy, draw, lift, stay, without
from tests.bandit.worlds import arm_counts, beliefs_after, permuted, random_beliefs, seeds

rates = st.floats(min_value=0, max_value=1)


class FixedUniform(np.random.Generator):
    """A generator whose next number is known."""

    def __init__(self, value: float) -> None:
        super().__init__(np.random.PCG64(0))
        self.value = value

    def random(self) -> float:  # type: ignore[override]
        return self.value


@given(n_arms=arm_counts, seed=seeds, rate=rates, floor=rates, least=rates)
def test_probabilities_sum_to_one_and_respect_the_floor(
    n_arms: int, seed: int, rate: float, floor: float, least: float
) -> None:
    rng = np.random.default_rng(seed)
    knobs = Knobs(
        exploration_rate=rate, propensity_floor=floor, min_confidence_score=least, exploration_bonus=0.1
    )

    chances = ThompsonPolicy(knobs, default_arm=0).probabilities(random_beliefs(n_arms, rng, knobs))

    assert chances.sum() == pytest.approx(1.0, abs=1e-12)
    assert np.all(chances >= min(floor, 1 / n_arms) - 1e-12)


@given(n_arms=st.integers(2, 12), seed=seeds, rate=rates)
def test_an_arm_the_budget_bars_gets_nothing_and_the_rest_keep_the_floor(
    n_arms: int, seed: int, rate: float
) -> None:
    rng = np.random.default_rng(seed)
    knobs = Knobs(exploration_rate=rate, propensity_floor=0.01)
    barred = rng.permutation(np.arange(n_arms) < rng.integers(1, n_arms))

    policy = ThompsonPolicy(knobs, barred=barred, default_arm=0)
    chances = policy.probabilities(random_beliefs(n_arms, rng, knobs))

    assert chances.sum() == pytest.approx(1.0, abs=1e-12)
    assert not chances[barred].any()
    assert np.all(chances[~barred] >= 0.01 - 1e-12)


@given(n_arms=arm_counts, seed=seeds)
def test_permuting_arms_permutes_probabilities(n_arms: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    beliefs, order = random_beliefs(n_arms, rng, Knobs()), rng.permutation(n_arms)

    chances = ThompsonPolicy(Knobs()).probabilities(permuted(beliefs, order))

    assert chances == pytest.approx(ThompsonPolicy(Knobs()).probabilities(beliefs)[order], abs=1e-9)


@given(
    mean=st.floats(0.3, 0.8),
    worse_by=st.floats(0.1, 0.25),
    dearer=st.floats(1.0, 10.0),
    slower=st.floats(1.0, 10.0),
)
def test_an_arm_dominated_in_reward_price_and_latency_is_chosen_less_with_more_evidence(
    mean: float, worse_by: float, dearer: float, slower: float
) -> None:
    means, cost_usd = [mean, mean - worse_by], [0.001, 0.001 * dearer]

    chances = [
        ThompsonPolicy(Knobs()).probabilities(
            replace(
                beliefs_after([n, n], means, Knobs(), cost_usd), expected_latency_s=np.array([1.0, slower])
            )
        )[1]
        for n in (4, 32, 256, 2048)
    ]

    assert chances == sorted(chances, reverse=True)
    assert chances[-1] < 0.01


@pytest.mark.parametrize("n_arms", [20, 21, 45])
def test_equal_arms_at_the_floor_stay_equal(n_arms: int) -> None:
    even = np.full(n_arms, 1 / n_arms)

    lifted = lift(even, 0.1, np.ones(n_arms, dtype=np.bool_))

    np.testing.assert_allclose(lifted, even)


def test_a_single_arm_is_always_chosen() -> None:
    knobs = Knobs(exploration_rate=0.5, propensity_floor=1.0)

    assert ThompsonPolicy(knobs).probabilities(beliefs_after([3], [0.5], knobs)).tolist() == [1.0]


def test_a_higher_price_moves_choices_to_the_cheaper_arm() -> None:
    knobs = Knobs(budget_usd_per_request=0.01)
    beliefs = beliefs_after([50, 50], [0.5, 0.8], knobs, cost_usd=[0.005, 0.02])

    prices = (0.0, 0.02, 0.05, 0.2)
    cheap = [ThompsonPolicy(knobs, price=price).probabilities(beliefs)[0] for price in prices]

    assert cheap == sorted(set(cheap))
    assert cheap[-1] > 0.99


@given(n_arms=arm_counts, seed=seeds)
def test_the_logged_propensity_is_exactly_the_probability_used(n_arms: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(n_arms, 0.3))

    choice = draw(probabilities, rng)

    assert choice.propensity == probabilities[choice.index]
    assert choice.propensity > 0
    assert 0 <= choice.uniform < 1


def test_arms_are_drawn_as_often_as_their_probability() -> None:
    probabilities = np.array([0.1, 0.0, 0.6, 0.3])
    rng = np.random.default_rng(1)

    counts = np.bincount([draw(probabilities, rng).index for _ in range(20_000)], minlength=4)

    assert counts / 20_000 == pytest.approx(probabilities, abs=4 * np.sqrt(0.25 / 20_000))
    assert counts[1] == 0


@pytest.mark.parametrize(("uniform", "index"), [(0.0, 1), (0.5, 2), (np.nextafter(1.0, 0.0), 2)])
def test_an_arm_without_probability_is_never_drawn_even_at_the_edges(uniform: float, index: int) -> None:
    probabilities = np.array([0.0, 0.5, 0.5, 0.0])

    assert draw(probabilities, FixedUniform(uniform)).index == index


@pytest.mark.parametrize("probabilities", [[0.5, 0.4], [1.5, -0.5], [float("nan"), 1.0]])
def test_what_is_no_distribution_is_refused(probabilities: list[float]) -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        draw(np.array(probabilities), np.random.default_rng(0))


@given(n_arms=arm_counts, seed=seeds, share=rates)
def test_with_a_holdout_probabilities_still_sum_to_one_and_the_others_keep_their_odds(
    n_arms: int, seed: int, share: float
) -> None:
    rng = np.random.default_rng(seed)
    probabilities, arm = rng.dirichlet(np.full(n_arms, 0.3)), int(rng.integers(n_arms))

    mixed = Holdout(share, arm).mix(probabilities)

    assert mixed.sum() == pytest.approx(1.0, abs=1e-12)
    assert mixed[arm] == pytest.approx(share + (1 - share) * probabilities[arm])
    others = np.arange(n_arms) != arm
    assert mixed[others] == pytest.approx((1 - share) * probabilities[others])


@given(n_arms=arm_counts, seed=seeds)
def test_a_holdout_of_nothing_changes_nothing(n_arms: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(n_arms, 0.3))
    holdout = Holdout(0.0, int(rng.integers(n_arms)))

    mixed = holdout.mix(probabilities)

    assert np.array_equal(mixed, probabilities)
    assert not any(holdout.contains(draw(mixed, rng), mixed) for _ in range(20))


def test_the_share_is_held_out_under_any_policy_and_the_rest_follows_the_policy() -> None:
    probabilities, n = np.array([0.2, 0.5, 0.3]), 20_000
    holdout, rng = Holdout(0.1, 1), np.random.default_rng(3)
    mixed = holdout.mix(probabilities)

    draws = [draw(mixed, rng) for _ in range(n)]

    held_out = np.array([holdout.contains(choice, mixed) for choice in draws])
    arms = np.array([choice.index for choice in draws])
    assert held_out.mean() == pytest.approx(0.1, abs=4 * np.sqrt(0.1 * 0.9 / n))
    assert set(arms[held_out]) == {1}
    routed = np.bincount(arms[~held_out], minlength=3) / np.count_nonzero(~held_out)
    assert routed == pytest.approx(probabilities, abs=4 * np.sqrt(0.25 / (0.9 * n)))
    assert {choice.propensity for choice in draws if choice.index == 1} == {mixed[1]}
    assert np.mean(arms == 1) == pytest.approx(mixed[1], abs=4 * np.sqrt(0.25 / n))


def test_after_a_failure_the_remaining_arms_keep_their_odds() -> None:
    assert without(np.array([0.5, 0.3, 0.2]), [0]) == pytest.approx([0.0, 0.6, 0.4])


def test_after_the_only_likely_arm_failed_the_others_are_tried_evenly() -> None:
    assert without(np.array([1.0, 0.0, 0.0]), [0]).tolist() == [0.0, 0.5, 0.5]


def test_nothing_remains_once_every_arm_was_tried() -> None:
    with pytest.raises(ValueError, match="every arm was tried"):
        without(np.array([0.5, 0.5]), [0, 1])


@given(n_arms=arm_counts, seed=seeds, switching_cost=st.floats(min_value=0, max_value=1))
def test_only_arms_that_exceed_the_switching_cost_can_replace_the_incumbent(
    n_arms: int, seed: int, switching_cost: float
) -> None:
    rng = np.random.default_rng(seed)
    chances, utilities = rng.dirichlet(np.ones(n_arms)), rng.random(n_arms)
    incumbent = int(rng.integers(n_arms))

    staying = stay(chances, utilities, incumbent, switching_cost)

    others = np.arange(n_arms) != incumbent
    exceeds = others & (utilities - utilities[incumbent] > switching_cost)
    assert staying.sum() == pytest.approx(1.0)
    assert (staying[exceeds] == chances[exceeds]).all()
    assert not staying[others & ~exceeds].any()


def test_if_no_arm_exceeds_the_switching_cost_the_incumbent_is_certain() -> None:
    staying = stay(np.array([0.2, 0.3, 0.5]), np.array([0.5, 0.6, 0.7]), 0, 0.2)

    assert staying.tolist() == [1.0, 0.0, 0.0]
