"""Made-up arms, neighbours and logs for the tests of the learner."""

from dataclasses import fields, replace

import numpy as np
from hypothesis import strategies as st

from bandit.arrays import Ints
from bandit.beliefs import Beliefs, PriorState, believe
from bandit.beta import Beta
from bandit.evidence import Neighbours, Sums
from bandit.knobs import Knobs
from bandit.prior import Prior
from bandit.records import ArmRecords

seeds = st.integers(min_value=0, max_value=2**32 - 1)
arm_counts = st.integers(min_value=1, max_value=16)


def a_prior(n_arms: int) -> Prior:
    return Prior(
        mean=np.full(n_arms, 0.8),
        mass=np.full(n_arms, 2.0),
        cost_usd=np.full(n_arms, 0.002),
        latency_s=np.full(n_arms, 1.0),
    )


def a_random_prior(n_arms: int, rng: np.random.Generator) -> Prior:
    return Prior(
        mean=rng.uniform(size=n_arms),
        mass=rng.uniform(0.1, 50.0, n_arms),
        cost_usd=rng.uniform(0.0, 0.1, n_arms),
        latency_s=rng.uniform(0.0, 10.0, n_arms),
    )


def random_sums(n_arms: int, rng: np.random.Generator) -> Sums:
    n = rng.integers(0, 500, n_arms).astype(np.float64)
    n_unpriced = np.floor(n * rng.uniform(size=n_arms))
    cost_usd_sum = 2 * n * rng.uniform(0.0, 0.1, n_arms)
    latency_s_sum = 2 * n * rng.uniform(0.0, 10.0, n_arms)
    # The squares of n equal numbers are sum ** 2 / n; those of unequal ones are more.
    unequal = rng.uniform(1.0, 10.0, (2, n_arms))
    return Sums(
        n=n,
        reward_sum=n * rng.uniform(size=n_arms),
        n_outcomes=2 * n,
        cost_usd_sum=cost_usd_sum,
        latency_s_sum=latency_s_sum,
        n_unpriced=n_unpriced,
        cost_usd_squares=unequal[0] * cost_usd_sum**2 / np.maximum(2 * n - n_unpriced, 1.0),
        latency_s_squares=unequal[1] * latency_s_sum**2 / np.maximum(2 * n, 1.0),
    )


def random_neighbours(n_arms: int, rng: np.random.Generator, k: int = 100) -> Neighbours:
    return Neighbours(
        arm=rng.integers(0, n_arms, k),
        similarity=rng.uniform(-0.1, 1.0, k),
        age_s=rng.uniform(0.0, 1e6, k),
        reward=rng.uniform(size=k),
        cost_usd=rng.uniform(0.0, 0.1, k),
        latency_s=rng.uniform(0.0, 10.0, k),
        weight=rng.choice([0.0, 0.3, 1.0], k),
        ease=rng.uniform(-0.2, 0.2, k),
    )


def some_neighbours(arm: list[int], reward: list[float]) -> Neighbours:
    """Identical queries of a minute ago, each answered for two cents in two seconds."""
    k = len(arm)
    return Neighbours(
        arm=np.array(arm, dtype=np.int64),
        similarity=np.ones(k),
        age_s=np.full(k, 60.0),
        reward=np.array(reward, dtype=np.float64),
        cost_usd=np.full(k, 0.02),
        latency_s=np.full(k, 2.0),
        weight=np.ones(k),
        ease=np.zeros(k),
    )


def prior_state_of(prior: Prior, sums: Sums, records: ArmRecords | None = None) -> PriorState:
    """The prior state of arms with these records, by default those without a history."""
    return PriorState.of(prior, sums, ArmRecords.from_sums(sums) if records is None else records)


def random_beliefs(n_arms: int, rng: np.random.Generator, knobs: Knobs) -> Beliefs:
    prior_state = prior_state_of(a_random_prior(n_arms, rng), random_sums(n_arms, rng))
    return believe(prior_state, random_neighbours(n_arms, rng), knobs)


def beliefs_after(
    n: list[float], mean: list[float], knobs: Knobs, cost_usd: list[float] | None = None
) -> Beliefs:
    """Beliefs from n rated requests of this mean reward per arm, without neighbours.

    Every call cost and took what was expected.
    """
    n_arms = len(n)
    prior = a_prior(n_arms)
    if cost_usd is not None:
        prior = replace(prior, cost_usd=np.array(cost_usd))
    rated = np.array(n, dtype=np.float64)
    sums = replace(
        Sums.zeros(n_arms),
        n=rated,
        reward_sum=rated * np.array(mean),
        n_outcomes=rated,
        cost_usd_sum=rated * prior.cost_usd,
        latency_s_sum=rated * prior.latency_s,
        cost_usd_squares=rated * prior.cost_usd**2,
        latency_s_squares=rated * prior.latency_s**2,
    )
    return believe(prior_state_of(prior, sums), Neighbours.none(), knobs)


def permuted(beliefs: Beliefs, order: Ints) -> Beliefs:
    """The same beliefs with the arms in another order."""
    per_arm = {
        field.name: getattr(beliefs.prior_state, field.name)[order]
        for field in fields(PriorState)
        if field.name not in {"expert_weights", "ease", "prior_offset"}
    }
    return replace(
        beliefs,
        prior_state=replace(beliefs.prior_state, **per_arm),
        posterior=Beta.of_counts(beliefs.posterior.alpha[order], beliefs.posterior.beta[order]),
        local_mass=beliefs.local_mass[order],
        local_deviation=beliefs.local_deviation[order],
        expected_cost_usd=beliefs.expected_cost_usd[order],
        expected_latency_s=beliefs.expected_latency_s[order],
        bonus=beliefs.bonus[order],
        predicted=beliefs.predicted[:, order],
    )
