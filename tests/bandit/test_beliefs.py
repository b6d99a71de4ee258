from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit.beliefs import believe
from bandit.evidence import Neighbours, Sums
from bandit.knobs import Knobs
from bandit.price_class import price_class
from bandit.prior import Prior, towards_level
from bandit.records import ArmRecords
from tests.bandit.worlds import (
    a_prior,
    a_random_prior,
    arm_counts,
    beliefs_after,
    permuted,
    prior_state_of,
    random_neighbours,
    random_sums,
    seeds,
    some_neighbours,
)


def test_without_evidence_the_belief_is_the_prior() -> None:
    beliefs = believe(prior_state_of(a_prior(3), Sums.zeros(3)), Neighbours.none(), Knobs())

    assert beliefs.posterior.mean.tolist() == pytest.approx([0.8] * 3)
    assert beliefs.prior_state.global_mean.tolist() == pytest.approx([0.8] * 3)
    assert beliefs.ease == 0.0
    assert beliefs.expected_cost_usd.tolist() == [0.002] * 3


def test_the_global_mean_is_the_prior_and_all_rewards_by_mass() -> None:
    beliefs = beliefs_after(n=[8.0], mean=[0.3], knobs=Knobs())

    assert beliefs.prior_state.global_mean[0] == pytest.approx((2 * 0.8 + 8 * 0.3) / 10)


def test_neighbours_move_the_arm_they_were_answered_by_as_the_formula_says() -> None:
    prior = replace(a_prior(2), mean=np.array([0.5, 0.5]))
    neighbours = some_neighbours([0] * 10 + [1] * 10, [1.0] * 10 + [0.0] * 10)

    beliefs = believe(prior_state_of(prior, Sums.zeros(2)), neighbours, Knobs())

    expected = 0.375 * 5 / (10 + 5) + 0.375 * 5 / (10 + 20)
    assert beliefs.ease == pytest.approx(0.0)
    assert beliefs.local_mass.tolist() == [10.0, 10.0]
    assert beliefs.local_deviation.tolist() == pytest.approx([expected, -expected])
    assert beliefs.posterior.mean.tolist() == pytest.approx([0.5 + expected, 0.5 - expected])
    mass = 1 / (0.25 / 2 + 0.375 / np.sqrt(15 * 2) + 0.375 / np.sqrt(30 * 2))
    k = 4 * (0.25 - expected**2) / 0.15
    assert beliefs.posterior.mass.tolist() == pytest.approx([k * mass, k * mass])


def test_an_easy_neighbourhood_raises_no_arm_by_what_all_arms_share() -> None:
    rewards = [0.9] * 40
    shared = believe(
        prior_state_of(replace(a_prior(2), mean=np.array([0.5, 0.5])), Sums.zeros(2)),
        some_neighbours([0] * 30 + [1] * 10, rewards),
        Knobs(),
    )

    assert shared.ease == pytest.approx(0.4 * 40 / 50)
    remainder = 0.4 * 10 / 50
    deviations = [0.375 * remainder * (n / (n + 5) + n / (n + 20)) for n in (30, 10)]
    assert shared.local_deviation.tolist() == pytest.approx(deviations)


def test_nearby_dollars_and_seconds_pull_the_expectation_by_twenty_pseudo_observations() -> None:
    neighbours = some_neighbours([0] * 20, [1.0] * 20)

    beliefs = believe(prior_state_of(a_prior(2), Sums.zeros(2)), neighbours, Knobs())

    assert beliefs.expected_cost_usd.tolist() == pytest.approx([(0.002 + 0.02) / 2, 0.002])
    assert beliefs.expected_latency_s.tolist() == pytest.approx([1.5, 1.0])


def test_calls_of_unknown_cost_say_nothing_about_dollars() -> None:
    prior = a_prior(2)
    known = [Sums.outcome(2, 0, cost_usd=0.5, latency_s=3.0)] * 4
    unknown = [Sums.outcome(2, 0, cost_usd=None, latency_s=3.0)] * 6
    priced = believe(prior_state_of(prior, sum(known, Sums.zeros(2))), Neighbours.none(), Knobs())

    both = believe(prior_state_of(prior, sum(known + unknown, Sums.zeros(2))), Neighbours.none(), Knobs())
    none = believe(prior_state_of(prior, sum(unknown, Sums.zeros(2))), Neighbours.none(), Knobs())

    assert both.expected_cost_usd == pytest.approx(priced.expected_cost_usd)
    assert none.expected_cost_usd == pytest.approx(prior.cost_usd)
    assert both.expected_latency_s[0] != pytest.approx(priced.expected_latency_s[0])


def test_neighbours_of_unknown_cost_say_nothing_about_dollars() -> None:
    neighbours = some_neighbours([0, 0, 0, 1], [1.0, 0.9, 0.8, 0.7])
    dollars = np.array([0.4, 0.2, 0.9, 0.1])
    state = prior_state_of(a_prior(2), Sums.zeros(2))
    knobs = Knobs(min_similar_requests=1)

    unknown = believe(state, replace(neighbours, cost_usd=np.where(dollars == 0.9, np.nan, dollars)), knobs)

    others = np.array([0, 1, 3])
    rest = Neighbours(*(getattr(neighbours, f.name)[others] for f in fields(Neighbours)))
    without = believe(state, replace(rest, cost_usd=dollars[others]), knobs)
    assert unknown.expected_cost_usd == pytest.approx(without.expected_cost_usd)
    assert np.isfinite(unknown.posterior.alpha).all()


def test_unrated_neighbours_change_expected_dollars_but_not_reward() -> None:
    unrated = replace(some_neighbours([0] * 20, [1.0] * 20), weight=np.zeros(20))

    beliefs = believe(prior_state_of(a_prior(2), Sums.zeros(2)), unrated, Knobs())

    assert beliefs.local_mass.tolist() == [0.0, 0.0]
    assert beliefs.ease == 0.0
    assert beliefs.expected_cost_usd[0] == pytest.approx(0.011)


@given(n_arms=arm_counts, seed=seeds)
def test_relabelling_arms_permutes_beliefs(n_arms: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    prior, sums = a_random_prior(n_arms, rng), random_sums(n_arms, rng)
    neighbours, order = random_neighbours(n_arms, rng), rng.permutation(n_arms)
    new_label = np.argsort(order)

    relabelled = believe(
        prior_state_of(
            Prior(prior.mean[order], prior.mass[order], prior.cost_usd[order], prior.latency_s[order]),
            Sums(*(getattr(sums, field.name)[order] for field in fields(Sums))),
        ),
        replace(neighbours, arm=new_label[neighbours.arm]),
        Knobs(),
    )

    expected = permuted(believe(prior_state_of(prior, sums), neighbours, Knobs()), order)
    assert np.allclose(relabelled.posterior.alpha, expected.posterior.alpha)
    assert np.allclose(relabelled.posterior.beta, expected.posterior.beta)
    assert np.allclose(relabelled.expected_cost_usd, expected.expected_cost_usd)
    assert np.allclose(relabelled.expected_latency_s, expected.expected_latency_s)


@given(n_arms=arm_counts, seed=seeds)
def test_more_evidence_on_an_arm_makes_every_belief_firmer(n_arms: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    prior, sums = a_random_prior(n_arms, rng), random_sums(n_arms, rng)
    neighbours = random_neighbours(n_arms, rng)
    before = believe(prior_state_of(prior, sums), neighbours, Knobs())
    more = replace(sums, n=sums.n + 10, reward_sum=sums.reward_sum + 10 * before.prior_state.global_mean)

    after = believe(prior_state_of(prior, more), neighbours, Knobs())

    assert np.all(after.posterior.mass > before.posterior.mass)


@given(n_arms=arm_counts, seed=seeds)
def test_beliefs_are_always_proper(n_arms: int, seed: int) -> None:
    rng = np.random.default_rng(seed)

    sure = replace(a_random_prior(n_arms, rng), mean=rng.integers(0, 2, n_arms).astype(np.float64))
    beliefs = believe(
        prior_state_of(sure, random_sums(n_arms, rng)),
        random_neighbours(n_arms, rng, k=int(rng.integers(0, 150))),
        Knobs(),
    )

    assert np.all(beliefs.posterior.alpha > 0)
    assert np.all(beliefs.posterior.beta > 0)
    assert np.all(beliefs.expected_cost_usd >= 0)


def test_without_any_known_quality_all_arms_start_optimistic() -> None:
    unknown = np.full(2, np.nan)

    prior = Prior.of(unknown, unknown, np.ones(2), np.ones(2), Knobs(), price=np.array([0.0, 9.0]))

    assert prior.mean.tolist() == pytest.approx([0.9, 0.9])
    assert prior.mass.tolist() == pytest.approx([10.0, 10.0])


def test_an_unknown_quality_starts_at_the_level_of_its_price_among_known_ones() -> None:
    quality = np.array([0.9, 0.5, np.nan, np.nan])
    price = np.array([10.0, 1.0, 1.0, 0.0])

    prior = Prior.of(quality, np.full(4, np.nan), np.ones(4), np.ones(4), Knobs(), price=price)

    assert prior.mean[2:].tolist() == pytest.approx(price_class(prior.mean, ~np.isnan(quality), price)[2:])
    assert prior.mass.tolist() == pytest.approx([80 / 3, 80 / 3, 5.0, 5.0])


def test_the_masses_that_are_given_stay() -> None:
    quality, mass = np.array([0.6, np.nan]), np.array([7.0, 3.0])

    prior = Prior.of(quality, mass, np.ones(2), np.ones(2), Knobs())

    assert prior.mean.tolist() == pytest.approx([0.6, 0.6])
    assert prior.mass.tolist() == pytest.approx([7.0, 3.0])


@given(seeds, arm_counts, st.booleans())
def test_no_arm_of_unknown_quality_starts_above_every_known_one(
    seed: int, n_arms: int, is_newcomer: bool
) -> None:
    rng = np.random.default_rng(seed)
    quality = np.append(rng.uniform(size=n_arms), [np.nan] * 3)
    size = quality.size
    price = np.append(10.0 ** rng.uniform(-2.0, 2.0, n_arms), [0.0, 1000.0, np.nan])
    joined = np.append(np.zeros(n_arms, dtype=np.bool_), [is_newcomer] * 3)

    prior = Prior.of(
        quality, np.full(size, np.nan), np.ones(size), np.ones(size), Knobs(), None, joined, price
    )

    assert np.all(prior.mean[n_arms:] <= prior.mean[:n_arms].max())


def test_the_level_of_a_price_follows_the_known_arms_feedback() -> None:
    quality, unknown = np.array([0.9, np.nan]), np.full(2, np.nan)
    sums = replace(Sums.zeros(2), n=np.array([60.0, 0.0]), reward_sum=np.array([6.0, 0.0]))
    changed = replace(ArmRecords.from_sums(sums), prior_kept=np.array([0.1, 1.0]))

    calm, broken = (
        Prior.of(quality, unknown, np.ones(2), np.ones(2), Knobs(), records, price=np.ones(2))
        for records in (ArmRecords.from_sums(sums), changed)
    )

    assert calm.mean[1] == pytest.approx((20 * 0.9 + 6) / 80)
    assert broken.mean[1] == pytest.approx((2 * 0.9 + 6) / 62)


@given(seeds, arm_counts)
def test_known_qualities_shrink_to_their_level_in_order_and_gain_mass(seed: int, n_arms: int) -> None:
    rng = np.random.default_rng(seed)
    quality, mass = np.sort(rng.uniform(size=n_arms)), rng.uniform(0.1, 50.0)

    shrunk, new_mass = towards_level(quality, np.full(n_arms, mass))

    assert shrunk.mean() == pytest.approx(quality.mean())
    assert np.all(np.diff(shrunk) >= 0)
    assert np.ptp(shrunk) == pytest.approx(np.ptp(quality) * mass / (mass + 20.0))
    assert np.all((new_mass >= mass * (1 - 1e-9)) & (new_mass <= mass + 20.0))


def test_a_figure_alone_or_of_great_mass_stays_as_it_is() -> None:
    alone = towards_level(np.array([0.3]), np.array([20.0]))
    among_others = towards_level(np.array([0.3, 0.9, 0.8]), np.array([1e6, 5.0, 20.0]))

    assert (alone[0][0], alone[1][0]) == pytest.approx((0.3, 20.0))
    assert among_others[0][0] == pytest.approx(0.3, abs=1e-4)


def test_shrinking_to_the_level_has_the_predicted_error_if_qualities_scatter_as_assumed() -> None:
    rng = np.random.default_rng(1)
    scatter = 0.1
    quality = 0.7 + scatter * rng.normal(size=(4000, 5))
    figures = quality + scatter * rng.normal(size=(4000, 5))

    shrunk, mass = zip(*(towards_level(row, np.full(5, 20.0)) for row in figures), strict=True)

    squared_errors = (np.array(shrunk) - quality) ** 2
    variance = scatter**2 * 20.0 / mass[0][0]
    assert squared_errors.mean() == pytest.approx(variance, rel=0.05)


def test_arms_of_unknown_quality_start_a_little_above_the_rewards_so_far() -> None:
    unknown = np.full(2, np.nan)
    sums = replace(Sums.zeros(2), n=np.array([40.0, 5.0]), reward_sum=np.array([16.0, 1.0]))

    prior = Prior.of(unknown, unknown, np.ones(2), np.ones(2), Knobs(), ArmRecords.from_sums(sums))

    assert prior.mean.tolist() == pytest.approx([(5 * 0.8 + 10 * 0.4 + 1) / 20 + 0.1] * 2)


def test_a_newcomer_gets_a_head_start() -> None:
    unknown = np.full(2, np.nan)

    prior = Prior.of(unknown, unknown, np.ones(2), np.ones(2), Knobs(), is_newcomer=np.array([False, True]))

    assert prior.mean.tolist() == pytest.approx([0.9, 0.97])
    assert prior.mass.tolist() == [10.0, 5.0]


def test_a_newcomer_beside_known_arms_starts_level_with_the_best_of_them() -> None:
    quality, unknown = np.array([0.9, 0.5, np.nan]), np.full(3, np.nan)
    sums = replace(Sums.zeros(3), n=np.array([1000.0, 0.0, 0.0]), reward_sum=np.array([100.0, 0.0, 0.0]))
    joined = np.array([False, False, True])
    records = ArmRecords.from_sums(sums)

    prior = Prior.of(quality, unknown, np.ones(3), np.ones(3), Knobs(), records, joined, np.ones(3))

    assert prior.mean.tolist() == pytest.approx([0.8, 0.6, 0.6])
    assert prior.mass[2] == 5.0


def test_neighbours_whose_rewards_their_ease_explains_change_no_belief() -> None:
    prior_state = prior_state_of(a_prior(2), Sums.zeros(2))
    easy = replace(some_neighbours([0] * 10, [0.95] * 10), ease=np.full(10, 0.15))

    beliefs = believe(prior_state, easy, Knobs())

    assert beliefs.local_deviation == pytest.approx([0.0, 0.0])
    assert beliefs.ease == pytest.approx(0.0)
