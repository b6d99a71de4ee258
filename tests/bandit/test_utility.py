from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given

from bandit.knobs import Knobs
from bandit.utility import price_in_utility, utility_terms
from tests.bandit.worlds import arm_counts, beliefs_after, random_beliefs, seeds


def test_the_terms_are_the_formula() -> None:
    knobs = Knobs(
        feedback_weight=1.0, latency_weight=0.5, cost_weight=-0.3, exploration_bonus=0.1,
        budget_usd_per_request=0.01,
    )  # fmt: skip
    beliefs = replace(
        beliefs_after(n=[0, 5], mean=[0, 0.8], knobs=knobs, cost_usd=[0.01, 0.04]),
        expected_latency_s=np.array([2.0, 0.5]),
    )

    terms = utility_terms(beliefs, knobs, price=0.2)

    assert terms.quality.tolist() == pytest.approx([0.8, 0.8])
    assert terms.bonus.tolist() == pytest.approx([0.1, 0.05])
    assert terms.speed.tolist() == pytest.approx([0.1, 0.4])
    assert terms.cost.tolist() == pytest.approx([-0.075, -0.3])
    assert terms.spend.tolist() == pytest.approx([-0.2, -0.8])
    assert terms.total.tolist() == pytest.approx([0.725, 0.15])


@given(n_arms=arm_counts, seed=seeds)
def test_zero_weights_switch_their_term_off_exactly(n_arms: int, seed: int) -> None:
    knobs = Knobs(feedback_weight=0.0, latency_weight=0.0, cost_weight=0.0, budget_usd_per_request=0.01)

    terms = utility_terms(random_beliefs(n_arms, np.random.default_rng(seed), knobs), knobs, price=0.0)

    assert not terms.quality.any()
    assert not terms.speed.any()
    assert not terms.cost.any()
    assert not terms.spend.any()


def test_free_arms_of_unknown_speed_differ_in_nothing() -> None:
    beliefs = replace(beliefs_after(n=[1, 1], mean=[1, 1], knobs=Knobs()), expected_latency_s=np.zeros(2))

    terms = utility_terms(replace(beliefs, expected_cost_usd=np.zeros(2)), Knobs())

    assert terms.speed[0] == terms.speed[1]
    assert not terms.cost.any()


def test_the_price_means_nothing_without_a_budget() -> None:
    beliefs = beliefs_after(n=[1, 1], mean=[1, 1], knobs=Knobs())

    assert not utility_terms(beliefs, Knobs(), price=5.0).spend.any()


def test_dollars_weigh_in_utility_as_they_do_among_the_arms_terms() -> None:
    knobs = Knobs(cost_weight=-0.3, budget_usd_per_request=0.01)
    beliefs = beliefs_after(n=[0, 5], mean=[0, 0.8], knobs=knobs, cost_usd=[0.01, 0.04])
    terms = utility_terms(beliefs, knobs, price=0.2)

    lost = price_in_utility(0.03, beliefs, knobs, price=0.2)

    paid = terms.cost + terms.spend
    assert lost == pytest.approx(paid[0] - paid[1])


def test_dollars_without_weight_and_budget_take_nothing() -> None:
    knobs = Knobs(cost_weight=0.0)

    assert price_in_utility(1.0, beliefs_after(n=[1, 1], mean=[1, 1], knobs=knobs), knobs, price=5.0) == 0.0


def test_extra_dollars_cost_nothing_where_no_arm_costs_anything_and_there_is_no_budget() -> None:
    knobs = Knobs()
    beliefs = beliefs_after(n=[1, 1], mean=[1, 1], knobs=knobs)
    free = replace(beliefs, expected_cost_usd=np.zeros(2))
    dear = replace(beliefs, expected_cost_usd=np.array([0.0, 0.5]))

    assert price_in_utility(1.0, free, knobs) == 0.0
    assert price_in_utility(1.0, dear, knobs) == pytest.approx(-knobs.cost_weight * 2.0)
    assert price_in_utility(1.0, free, replace(knobs, budget_usd_per_request=0.5)) == 0.0
