"""Logs that the service's own learner writes from recorded outcomes, with what candidates would have done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any

import numpy as np

from bandit.arrays import Floats, Ints
from bandit.beliefs import Beliefs, Prior, PriorState, believe
from bandit.drift import ArmHistory, learn
from bandit.evidence import Neighbours, Sums
from bandit.knobs import Knobs
from bandit.policy import ThompsonPolicy, draw
from bandit.records import ArmRecords
from bandit.utility import utility_terms
from benchmarks.learner import Fitting, Memory, rating_at
from benchmarks.streams import N_NEIGHBOURS, Recorded

REGISTRY_NOISE = 0.1
FRESH_EVERY = 3  # rounds from one fresh request to the next: those tell the truth on requests like these


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """Knobs to evaluate, without one of the arms or with all; no knobs: every arm as often."""

    name: str
    knobs: Knobs | None
    removed: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """A set as a population of requests; costs in units of the dearest arm's mean."""

    recorded: Recorded
    costs: Floats  # (n_rows, n_arms)
    mean_costs: Floats  # (n_arms,)
    quality: Floats  # (n_arms,), what is known beforehand

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
    """What was logged, with what only the recorded outcomes know.

    Args:
        memory: what the learner remembers of the rounds so far.
        rows: shape (n,), of the set.
        propensities, predicted, expected: shape (n, n_arms); reward and dollars as foretold.
        targets: shape (n_candidates, n, n_arms).
        fresh_rows: of requests that only the candidates saw, in the state that the learner was in.
        fresh_targets: of each, shape (n_candidates, n_arms).
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
    """What the learner knows at one moment, under any knobs."""

    quality: Floats
    price: Floats
    sums: Sums
    records: ArmRecords
    ease: float

    def prior_state(self, knobs: Knobs) -> PriorState:
        nothing = np.zeros_like(self.price)
        unknown = np.full_like(self.price, np.nan)
        prior = Prior.of(self.quality, unknown, self.price, nothing, knobs, self.records)
        return PriorState.of(prior, self.sums, self.records, self.ease)


Seen = tuple[Knobs, int | None]  # the knobs that something depends on, and the arm left out


@cache
def _believed_by(knobs: Knobs) -> Knobs:
    """The knobs that beliefs depend on: candidates that differ in the others have the same."""
    return replace(_drawn_by(knobs), feedback_weight=0.0, latency_weight=0.0, cost_weight=0.0)


@cache
def _drawn_by(knobs: Knobs) -> Knobs:
    """The knobs that the chances of sampled utilities depend on."""
    return replace(knobs, exploration_rate=0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """One request as candidates see it at one moment; what several of them share is worked out once."""

    state: State
    near: Neighbours
    believed: dict[Seen, Beliefs] = field(default_factory=dict)
    drawn: dict[Seen, Floats] = field(default_factory=dict)

    def beliefs(self, knobs: Knobs, removed: int | None = None) -> Beliefs:
        seen = _believed_by(knobs), removed
        if seen not in self.believed:
            prior_state, near = self.state.prior_state(knobs), self.near
            if removed is not None:
                prior_state, near = _without(removed, prior_state, near)
            self.believed[seen] = believe(prior_state, near, knobs)
        return self.believed[seen]

    def probabilities(self, knobs: Knobs, removed: int | None = None) -> Floats:
        seen = _drawn_by(knobs), removed
        beliefs, policy = self.beliefs(knobs, removed), ThompsonPolicy(knobs)
        if seen not in self.drawn:
            self.drawn[seen] = policy.chances(beliefs, utility_terms(beliefs, policy.knobs, policy.price))
        return policy.adjusted(self.drawn[seen], beliefs)

    def targets(self, candidates: Sequence[Candidate]) -> list[Floats]:
        """Each candidate's probabilities of every arm; 0 for the one that it does without."""
        return [self._target(candidate) for candidate in candidates]

    def _target(self, candidate: Candidate) -> Floats:
        if candidate.knobs is None:
            return np.full(self.state.price.size, 1 / self.state.price.size)
        probabilities = self.probabilities(candidate.knobs, candidate.removed)
        return (
            probabilities if candidate.removed is None else np.insert(probabilities, candidate.removed, 0.0)
        )


def _without(arm: int, prior_state: PriorState, near: Neighbours) -> tuple[PriorState, Neighbours]:
    per_arm: dict[str, Any] = {
        f.name: np.delete(getattr(prior_state, f.name), arm) for f in fields(PriorState)[:-2]
    }
    others = near.arm != arm
    kept = {f.name: getattr(near, f.name)[others] for f in fields(Neighbours)}
    return replace(prior_state, **per_arm), Neighbours(**{**kept, "arm": kept["arm"] - (kept["arm"] > arm)})


def write_log(
    world: World,
    logging: Knobs,
    candidates: Sequence[Candidate],
    rows: Ints,
    unseen: Ints,
    rng: np.random.Generator,
) -> Log:
    """Let the learner answer requests, and the candidates decide each of them in its place.

    Args:
        rows: of the set, the requests.
        unseen: rows for the fresh requests, of which one is taken every third round.
    """
    recorded, n_arms = world.recorded, world.n_arms
    log = Log.blank(rows, n_arms, len(candidates))
    contexts = recorded.contexts[log.rows]
    histories = [ArmHistory() for _ in range(n_arms)]
    fitting = Fitting.blank(contexts, n_arms)
    for t, row in enumerate(log.rows):
        fitting.keep_up(log.memory, range(t), histories, float(t))
        state = _state(world, histories, log.memory, fitting, t)
        sight = Sight(state, _recall(contexts[:t], recorded.contexts[row], log.memory, fitting))
        beliefs = sight.beliefs(logging)
        log.propensities[t] = sight.probabilities(logging)
        log.predicted[t], log.expected[t] = beliefs.predicted[-1], beliefs.expected_cost_usd
        log.targets[:, t] = sight.targets(candidates)
        if t % FRESH_EVERY == 0:
            fresh = int(unseen[t // FRESH_EVERY])
            around = _recall(contexts[:t], recorded.contexts[fresh], log.memory, fitting)
            there = replace(state, ease=fitting.at(recorded.contexts[fresh]))
            log.fresh_rows.append(fresh)
            log.fresh_targets.append(np.array(Sight(there, around).targets(candidates)))
        arm = draw(log.propensities[t], rng).index
        _remember(log.memory, t, arm, world, int(row), beliefs)
        histories[arm] = learn(histories[arm], rating_at(log.memory, t))
    return log


def _state(world: World, histories: Sequence[ArmHistory], memory: Memory, fitting: Fitting, t: int) -> State:
    nothing = np.zeros(world.n_arms)
    arms = memory.arm[:t]
    n_calls = np.bincount(arms, minlength=world.n_arms).astype(np.float64)
    spent = np.bincount(arms, memory.cost[:t], minlength=world.n_arms).astype(np.float64)
    return State(
        world.quality,
        world.mean_costs,
        Sums(nothing, nothing, n_calls, spent, nothing),
        ArmRecords.of(histories, float(t), float(t), fitting.sums_of(histories)),
        float(fitting.of_requests[t]),
    )


def _recall(contexts: Floats, context: Floats, memory: Memory, fitting: Fitting) -> Neighbours:
    cosine = contexts @ context
    near = np.flatnonzero(cosine > 0)
    if near.size > N_NEIGHBOURS:
        near = near[np.argpartition(-cosine[near], N_NEIGHBOURS)[:N_NEIGHBOURS]]
    return Neighbours(
        arm=memory.arm[near],
        similarity=cosine[near].astype(np.float64),
        age_s=(contexts.shape[0] - near).astype(np.float64),
        reward=memory.reward[near],
        cost_usd=memory.cost[near],
        latency_s=np.zeros(near.size),
        weight=np.ones(near.size),
        ease=fitting.of_requests[near],
    )


def _remember(memory: Memory, t: int, arm: int, world: World, row: int, beliefs: Beliefs) -> None:
    memory.arm[t], memory.n_rated[t] = arm, t
    memory.reward[t], memory.cost[t] = world.recorded.scores[row, arm], world.costs[row, arm]
    memory.predicted[t] = beliefs.predicted[:, arm]
    memory.deviation[t] = beliefs.prior_state.deviation[arm]
    memory.n_changes[t] = beliefs.prior_state.n_changes[arm]
