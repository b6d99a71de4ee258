"""One check per knob: each changes the choices as its comment says."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bandit.arrays import Floats
from bandit.beliefs import believe
from bandit.budget import Pacer
from bandit.evidence import SECONDS_PER_DAY, Sums, kernel
from bandit.knobs import Knobs
from bandit.policy import ThompsonPolicy
from bandit.prior import Prior
from bandit.thompson import sample
from bandit.utility import utility_terms
from tests.bandit.worlds import a_prior, beliefs_after, prior_state_of, some_neighbours


def chances(knobs: Knobs, mean: list[float], cost_usd: list[float], n: float = 100) -> Floats:
    beliefs = beliefs_after([n] * len(mean), mean, knobs, cost_usd)
    return ThompsonPolicy(knobs).probabilities(beliefs)


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("feedback_weight", -0.1),
        ("latency_weight", float("nan")),
        ("cost_weight", 0.2),
        ("exploration_rate", 1.5),
        ("propensity_floor", -0.001),
        ("similarity_threshold", 2.0),
        ("max_similar_requests", -1),
        ("recency_days", 0.0),
        ("min_similar_requests", -1),
        ("min_confidence_score", 1.1),
        ("optimistic_prior", float("inf")),
        ("optimistic_prior_mass", 0.0),
        ("exploration_bonus", -0.1),
        ("min_requests_for_global", -1.0),
        ("budget_usd_per_request", 0.0),
    ],
)
def test_a_value_out_of_range_is_refused_by_name_and_rule(knob: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"{knob} must be .*, got {value}"):
        Knobs(**{knob: value})


def test_feedback_weight_favours_the_better_arm_over_the_cheaper() -> None:
    better = [chances(Knobs(feedback_weight=w), [0.9, 0.6], [0.02, 0.001])[0] for w in (0.0, 0.6, 2.0)]

    assert better == sorted(better)
    assert better[0] < 0.01
    assert better[-1] > 0.99


def test_latency_weight_favours_the_faster_arm() -> None:
    slow, fast = 4.0, 1.0
    beliefs = replace(
        beliefs_after([50, 50], [0.7, 0.65], Knobs()), expected_latency_s=np.array([slow, fast])
    )

    faster = [ThompsonPolicy(Knobs(latency_weight=w)).probabilities(beliefs)[1] for w in (0.0, 0.2, 1.0)]

    assert faster == sorted(faster)
    assert faster[0] < 0.5 < faster[-1]


def test_cost_weight_favours_the_cheaper_arm() -> None:
    cheaper = [chances(Knobs(cost_weight=w), [0.7, 0.65], [0.02, 0.001])[1] for w in (0.0, -0.2, -1.0)]

    assert cheaper == sorted(cheaper)
    assert cheaper[0] < 0.5 < cheaper[-1]


def test_exploration_rate_is_how_often_another_arm_is_tried() -> None:
    knobs = Knobs(exploration_rate=0.1, propensity_floor=0.0)

    assert chances(knobs, [0.9, 0.1, 0.1], [0.0, 0.0, 0.0], n=1e4) == pytest.approx([0.9, 0.05, 0.05])


def test_propensity_floor_is_the_least_probability_of_an_arm() -> None:
    knobs = Knobs(propensity_floor=0.01)

    assert chances(knobs, [0.9, 0.1, 0.1], [0.0, 0.0, 0.0], n=1e4) == pytest.approx([0.98, 0.01, 0.01])


def test_similarity_threshold_leaves_out_the_less_similar() -> None:
    neighbours = replace(some_neighbours([0, 0, 0], [1, 1, 1]), similarity=np.array([0.9, 0.5, 0.1]))

    assert np.count_nonzero(kernel(neighbours, Knobs(similarity_threshold=0.5))) == 2


def test_max_similar_requests_keeps_the_most_similar() -> None:
    neighbours = replace(some_neighbours([0, 0, 0], [1, 1, 1]), similarity=np.array([0.5, 0.9, 0.1]))

    assert (kernel(neighbours, Knobs(max_similar_requests=2)) > 0).tolist() == [True, True, False]


def test_max_similar_requests_counts_prompts_and_keeps_them_whole() -> None:
    neighbours = replace(
        some_neighbours([0, 1, 2, 0, 1, 2, 0], [1] * 7),
        similarity=np.array([0.4, 0.4, 0.4, 0.9, 0.9, 0.9, 0.6]),
        prompt=np.array([7, 7, 7, 0, 0, 0, 3]),
    )

    kept = [(kernel(neighbours, Knobs(max_similar_requests=n)) > 0).tolist() for n in (0, 1, 2, 3)]

    assert kept[0] == [False] * 7
    assert kept[1] == [False] * 3 + [True] * 3 + [False]
    assert kept[2] == [False] * 3 + [True] * 4
    assert kept[3] == [True] * 7


def test_prompts_that_do_not_count_take_no_place() -> None:
    neighbours = replace(
        some_neighbours([0, 1, 0, 1], [1] * 4),
        similarity=np.array([0.9, 0.9, 0.2, 0.2]),
        age_s=np.array([9.0, 9.0, 1.0, 1.0]) * SECONDS_PER_DAY,
        prompt=np.array([0, 0, 1, 1]),
    )

    assert kernel(neighbours, Knobs(max_similar_requests=1, recency_days=2.0)).tolist() == [0, 0, 0.2, 0.2]


def test_recency_days_leaves_out_the_older() -> None:
    neighbours = replace(some_neighbours([0, 0], [1, 1]), age_s=np.array([1.0, 3.0]) * SECONDS_PER_DAY)

    assert kernel(neighbours, Knobs(recency_days=2.0)).tolist() == [1.0, 0.0]


def test_min_similar_requests_counts_prompts() -> None:
    neighbours = replace(some_neighbours([0] * 12, [0.0] * 12), prompt=np.arange(12) // 3)

    enough, too_few = (
        believe(prior_state_of(a_prior(2), Sums.zeros(2)), neighbours, Knobs(min_similar_requests=least))
        for least in (4, 5)
    )

    assert enough.local_deviation[0] < 0
    assert too_few.local_deviation[0] == 0


def test_fewer_than_min_similar_requests_leave_global_evidence_only() -> None:
    neighbours = some_neighbours([0] * 5, [0.0] * 5)

    enough, too_few = (
        believe(prior_state_of(a_prior(2), Sums.zeros(2)), neighbours, Knobs(min_similar_requests=least))
        for least in (5, 6)
    )

    assert enough.local_deviation[0] < 0
    assert not too_few.local_deviation.any()
    assert not too_few.local_mass.any()
    assert too_few.ease == 0.0
    assert too_few.expected_cost_usd.tolist() == [0.002, 0.002]


def test_min_confidence_score_leaves_the_answer_to_the_default_arm() -> None:
    knobs = Knobs(min_confidence_score=0.5, propensity_floor=0.0)
    beliefs = beliefs_after([1e5, 1e5], [0.4, 0.3], knobs)

    assert ThompsonPolicy(knobs, default_arm=1).probabilities(beliefs) == pytest.approx([0, 1])
    assert ThompsonPolicy(knobs, default_arm=None).probabilities(beliefs) == pytest.approx([1, 0])


def test_optimistic_prior_and_its_mass_are_the_belief_about_an_unknown_arm() -> None:
    unknown = np.full(1, np.nan)
    knobs = Knobs(optimistic_prior=0.7, optimistic_prior_mass=5.0)

    prior = Prior.of(unknown, unknown, np.ones(1), np.ones(1), knobs)

    assert prior.mean[0] == pytest.approx(0.8)
    assert prior.mass[0] == 5.0


def test_exploration_bonus_favours_the_young_arm() -> None:
    young = [
        ThompsonPolicy(knobs).probabilities(beliefs_after([100, 0], [0.8, 0.0], knobs))[1]
        for knobs in (Knobs(), Knobs(exploration_bonus=0.1))
    ]

    assert young[1] > young[0]


def test_min_requests_for_global_is_when_the_bonus_is_zero() -> None:
    knobs = Knobs(exploration_bonus=0.1, min_requests_for_global=20)

    assert beliefs_after([0, 5, 20, 50], [0.5] * 4, knobs).bonus.tolist() == pytest.approx([0.1, 0.075, 0, 0])
    assert not beliefs_after([0], [0.5], replace(knobs, min_requests_for_global=0)).bonus.any()


def test_budget_usd_per_request_keeps_the_mean_spend() -> None:
    knobs = Knobs(cost_weight=0.0, budget_usd_per_request=0.01)
    beliefs = beliefs_after([100, 100], [0.9, 0.6], knobs, cost_usd=[0.03, 0.002])
    offset = utility_terms(beliefs, knobs).offset
    pacer, rng, spent = Pacer(knobs.budget_usd_per_request), np.random.default_rng(0), 0.0

    for _ in range(1000):
        policy = ThompsonPolicy(knobs, price=pacer.price, barred=pacer.barred(beliefs.expected_cost_usd))
        arm = int(rng.choice(2, p=policy.probabilities(beliefs)))
        utilities = sample(beliefs.posterior, knobs.feedback_weight, offset, rng)
        pacer.record(utilities, beliefs.expected_cost_usd, arm)
        spent += beliefs.expected_cost_usd[arm]

    assert 0.8 * 0.01 < spent / 1000 <= 0.01 * (1 + 16 / 1000)
