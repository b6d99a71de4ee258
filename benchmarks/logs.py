"""Logs that the service's learner writes from recorded outcomes, with the candidates' probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any

import numpy as np

from bandit.arrays import Floats, Ints, Vectors
from bandit.beliefs import Beliefs, PriorState, believe
from bandit.drift import ArmHistory, learn
from bandit.evidence import Neighbours, Sums
from bandit.knobs import Knobs
from bandit.policy import ThompsonPolicy, draw
from bandit.prior import Prior
from bandit.records import ArmRecords
from bandit.utility import utility_terms
from benchmarks.memory import Fitting, Memory
from benchmarks.sets import Recorded
from benchmarks.streams import N_NEIGHBOURS

REGISTRY_NOISE = 0.1
FRESH_EVERY = 3  # rounds between fresh requests, which give the truth on requests like these


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """Knobs to evaluate, with all arms or without one; no knobs: every arm equally often."""

    name: str
    knobs: Knobs | None
    removed: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """A set as a population of requests; costs in units of the most expensive arm's mean."""

    recorded: Recorded
    costs: Floats  # (n_rows, n_arms)
    mean_costs: Floats  # (n_arms,)
    quality: Floats  # (n_arms,), prior means, NaN where unknown

    @classmethod
    def of(cls, recorded: Recorded, is_known: bool, rng: np.random.Generator) -> World:
        quality = np.full(len(recorded.arms), np.nan)
        if is_known:
            noise = rng.normal(0.0, REGISTRY_NOISE, quality.size)
            quality = np.clip(recorded.scores.mean(axis=0) + noise, 0.02, 0.98)
        costs = recorded.costs / recorded.costs.mean(axis=0).max()
        return cls(recorded, costs, costs.mean(axis=0), quality)

    @property
    def n_arms(self) -> int:
        return len(self.recorded.arms)


@dataclass(slots=True, eq=False)
class Log:
    """A log, and the candidates' probabilities.

    Args:
        memory: the learner's log of the rounds so far.
        rows: shape (n,), of the set.
        propensities, predicted, expected: shape (n, n_arms); `predicted` reward, `expected` dollars.
        targets: shape (n_candidates, n, n_arms).
        fresh_rows: rows of requests that only the candidates decide, in the learner's state of the moment.
        fresh_targets: for each fresh row, shape (n_candidates, n_arms).
    """

    memory: Memory
    rows: Ints
    propensities: Floats
    predicted: Floats
    expected: Floats
    targets: Floats
    fresh_rows: list[int]
    fresh_targets: list[Floats]

    @classmethod
    def blank(cls, rows: Ints, n_arms: int, n_candidates: int) -> Log:
        n = rows.size
        propensities, predicted, expected = np.zeros((3, n, n_arms))
        targets = np.zeros((n_candidates, n, n_arms))
        return cls(Memory.blank(n), rows, propensities, predicted, expected, targets, [], [])


@dataclass(frozen=True, slots=True)
class State:
    """The learner's knowledge at one moment, for any knobs."""

    quality: Floats
    price: Floats
    sums: Sums
    records: ArmRecords
    ease: float

    def prior_state(self, knobs: Knobs) -> PriorState:
        zeros = np.zeros_like(self.price)
        unknown = np.full_like(self.price, np.nan)
        prior = Prior.of(self.quality, unknown, self.price, zeros, knobs, self.records)
        return PriorState.of(prior, self.sums, self.records, self.ease)


CacheKey = tuple[Knobs, int | None]  # the knobs that a value depends on, and the arm left out


@cache
def _belief_knobs(knobs: Knobs) -> Knobs:
    """The knobs that beliefs depend on; candidates that differ only in other knobs share their beliefs."""
    return replace(_chance_knobs(knobs), feedback_weight=0.0, latency_weight=0.0, cost_weight=0.0)


@cache
def _chance_knobs(knobs: Knobs) -> Knobs:
    """The knobs that the probabilities of sampled utilities depend on."""
    return replace(knobs, exploration_rate=0.0)


@dataclass(frozen=True, slots=True, eq=False)
class RequestView:
    """One request at one moment; values that several candidates share are computed once."""

    state: State
    neighbours: Neighbours
    beliefs_cache: dict[CacheKey, Beliefs] = field(default_factory=dict)
    chances_cache: dict[CacheKey, Floats] = field(default_factory=dict)

    def beliefs(self, knobs: Knobs, removed: int | None = None) -> Beliefs:
        key = _belief_knobs(knobs), removed
        if key not in self.beliefs_cache:
            prior_state, neighbours = self.state.prior_state(knobs), self.neighbours
            if removed is not None:
                prior_state, neighbours = _without(removed, prior_state, neighbours)
            self.beliefs_cache[key] = believe(prior_state, neighbours, knobs)
        return self.beliefs_cache[key]

    def probabilities(self, knobs: Knobs, removed: int | None = None) -> Floats:
        key = _chance_knobs(knobs), removed
        beliefs, policy = self.beliefs(knobs, removed), ThompsonPolicy(knobs)
        if key not in self.chances_cache:
            terms = utility_terms(beliefs, policy.knobs, policy.price)
            self.chances_cache[key] = policy.chances(beliefs, terms)
        return policy.adjusted(self.chances_cache[key], beliefs)

    def targets(self, candidates: Sequence[Candidate]) -> list[Floats]:
        """Each candidate's probabilities of every arm; 0 for the arm that it leaves out."""
        return [self._target(candidate) for candidate in candidates]

    def _target(self, candidate: Candidate) -> Floats:
        if candidate.knobs is None:
            return np.full(self.state.price.size, 1 / self.state.price.size)
        probabilities = self.probabilities(candidate.knobs, candidate.removed)
        return (
            probabilities if candidate.removed is None else np.insert(probabilities, candidate.removed, 0.0)
        )


def _without(arm: int, prior_state: PriorState, neighbours: Neighbours) -> tuple[PriorState, Neighbours]:
    per_arm: dict[str, Any] = {
        f.name: np.delete(getattr(prior_state, f.name), arm) for f in fields(PriorState)[:-2]
    }
    is_other = neighbours.arm != arm
    others = {f.name: getattr(neighbours, f.name)[is_other] for f in fields(Neighbours)}
    arms = others["arm"] - (others["arm"] > arm)
    return replace(prior_state, **per_arm), Neighbours(**{**others, "arm": arms})


def write_log(
    world: World,
    logging: Knobs,
    candidates: Sequence[Candidate],
    rows: Ints,
    unseen: Ints,
    rng: np.random.Generator,
) -> Log:
    """Run the learner on requests, and compute each candidate's probabilities for them.

    Args:
        rows: of the set, the requests.
        unseen: rows for the fresh requests; every third round uses one.
    """
    recorded, n_arms = world.recorded, world.n_arms
    log = Log.blank(rows, n_arms, len(candidates))
    contexts = recorded.contexts[log.rows]
    histories = [ArmHistory() for _ in range(n_arms)]
    fitting = Fitting.blank(contexts, n_arms)
    for t, row in enumerate(log.rows):
        fitting.refit_if_due(log.memory, range(t), histories, float(t))
        state = _state(world, histories, log.memory, fitting, t)
        view = RequestView(state, _recall(contexts[:t], recorded.contexts[row], log.memory, fitting))
        beliefs = view.beliefs(logging)
        log.propensities[t] = view.probabilities(logging)
        log.predicted[t], log.expected[t] = beliefs.predicted[-1], beliefs.expected_cost_usd
        log.targets[:, t] = view.targets(candidates)
        if t % FRESH_EVERY == 0:
            fresh = int(unseen[t // FRESH_EVERY])
            neighbours = _recall(contexts[:t], recorded.contexts[fresh], log.memory, fitting)
            fresh_state = replace(state, ease=fitting.at(recorded.contexts[fresh]))
            log.fresh_rows.append(fresh)
            log.fresh_targets.append(np.array(RequestView(fresh_state, neighbours).targets(candidates)))
        arm = draw(log.propensities[t], rng).index
        _remember(log.memory, t, arm, world, int(row), beliefs)
        histories[arm] = learn(histories[arm], log.memory.rating(t))
    return log


def _state(world: World, histories: Sequence[ArmHistory], memory: Memory, fitting: Fitting, t: int) -> State:
    zeros = np.zeros(world.n_arms)
    arms = memory.arm[:t]
    n_calls = np.bincount(arms, minlength=world.n_arms).astype(np.float64)
    spent, squares = (
        np.bincount(arms, memory.cost[:t] ** power, minlength=world.n_arms).astype(np.float64)
        for power in (1, 2)
    )
    return State(
        world.quality,
        world.mean_costs,
        Sums(zeros, zeros, n_calls, spent, zeros, zeros, squares, zeros),
        ArmRecords.of(histories, float(t), float(t), fitting.sums_of(histories)),
        float(fitting.of_requests[t]),
    )


def _recall(contexts: Vectors, context: Vectors, memory: Memory, fitting: Fitting) -> Neighbours:
    cosine = contexts @ context
    positions = np.flatnonzero(cosine > 0)
    if positions.size > N_NEIGHBOURS:
        positions = positions[np.argpartition(-cosine[positions], N_NEIGHBOURS)[:N_NEIGHBOURS]]
    return Neighbours(
        arm=memory.arm[positions],
        similarity=cosine[positions].astype(np.float64),
        age_s=(contexts.shape[0] - positions).astype(np.float64),
        reward=memory.reward[positions],
        cost_usd=memory.cost[positions],
        latency_s=np.zeros(positions.size),
        weight=np.ones(positions.size),
        ease=fitting.of_requests[positions],
    )


def _remember(memory: Memory, t: int, arm: int, world: World, row: int, beliefs: Beliefs) -> None:
    memory.arm[t], memory.n_rated[t] = arm, t
    memory.reward[t], memory.cost[t] = world.recorded.scores[row, arm], world.costs[row, arm]
    memory.predicted[t] = beliefs.predicted[:, arm]
    memory.deviation[t] = beliefs.prior_state.deviation[arm]
    memory.n_changes[t] = beliefs.prior_state.n_changes[arm]
