"""The service's learner on a stream: the same classes, in process, without HTTP, database or vector index."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from bandit import thompson
from bandit.arrays import Bools, Floats, Ints
from bandit.beliefs import Beliefs, Prior, Standing, believe
from bandit.budget import Pacer
from bandit.evidence import Neighbours, Sums
from bandit.history import N_PREDICTIONS, History, Rating, Score, learn
from bandit.knobs import Knobs
from bandit.policy import ThompsonPolicy, draw
from bandit.track import Track
from benchmarks.streams import Stream

REGISTRY_NOISE = 0.1
# The sets have no latencies, and a run states its own price of dollars: with a budget of 1, per unit of cost.
BASE = Knobs(feedback_weight=1.0, latency_weight=0.0, cost_weight=0.0, budget_usd_per_request=1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """What a run is told beside its requests.

    Args:
        lam: price of dollars in the utility; with a budget, beside the pacer's own.
        quality: shape (n_arms,), prior means; NaN where nothing is known.
        budget: mean cost per request to keep to.
        joins: shape (n_arms,), position from which an arm may be chosen.
        price_factors: shape (n, n_arms), announced prices relative to the recorded; None: as recorded.
        has_context: whether neighbours are recalled.
        mass: observations that a known prior mean stands for; NaN: the learner's default.
        signals: shape (n, n_arms), weight of the implicit signal that each arm's answer would show; it counts
            where nobody rates the answer, in the sums alone: such a request is nobody's neighbour here.
    """

    lam: float
    quality: Floats
    budget: float | None = None
    joins: Ints | None = None
    price_factors: Floats | None = None
    has_context: bool = True
    mass: float = math.nan
    signals: Floats | None = None


@dataclass(slots=True, eq=False)
class Run:
    """What happened; arrays have shape (n,).

    Args:
        propensity: of the chosen arm.
        expected: what the propensity is on average over arms drawn as often as they should be.
        alarms: position, arm, and whether it was for the worse.
    """

    chosen: Ints
    propensity: Floats
    expected: Floats
    spent: Floats
    alarms: list[tuple[int, int, bool]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Memory:
    """What was logged of each request, shape (n,); predictions (n, n_predictions)."""

    arm: Ints
    reward: Floats
    cost: Floats
    predicted: Floats
    deviation: Floats
    n_rated: Floats
    n_changes: Ints

    @classmethod
    def blank(cls, n: int) -> Memory:
        positions, numbers = np.zeros((2, n), dtype=np.int64), np.zeros((4, n))
        return cls(
            arm=positions[0],
            reward=numbers[0],
            cost=numbers[1],
            predicted=np.zeros((n, N_PREDICTIONS)),
            deviation=numbers[2],
            n_rated=numbers[3],
            n_changes=positions[1],
        )


def registry(stream: Stream, seed: int) -> Floats:
    """Prior means as a public table might give them: true, and wrong by about a tenth."""
    noise = np.random.default_rng(77_000 + seed).normal(0.0, REGISTRY_NOISE, stream.quality.size)
    return np.clip(stream.quality + noise, 0.02, 0.98)


def unknown(stream: Stream) -> Floats:
    return np.full(stream.quality.size, np.nan)


def replay(stream: Stream, setting: Setting, seed: int, knobs: Knobs = BASE) -> Run:
    """Choose, see the chosen arm's score and cost, learn."""
    n, n_arms = stream.shape
    rng = np.random.default_rng(seed)
    names = tuple(str(arm) for arm in range(n_arms))
    pacer = Pacer(setting.budget)
    joins = np.zeros(n_arms, dtype=np.int64) if setting.joins is None else setting.joins
    factors = np.ones((n, n_arms)) if setting.price_factors is None else setting.price_factors
    histories = [History() for _ in range(n_arms)]
    sums, cost_sum, n_calls = Sums.zeros(n_arms), np.zeros(n_arms), np.zeros(n_arms)
    nothing = np.zeros(n_arms)
    mass = np.where(np.isnan(setting.quality), np.nan, setting.mass)
    n_rated = 0.0
    memory = Memory.blank(n)
    run = Run(memory.arm, *np.zeros((3, n)))

    for t in range(n):
        factor = factors[t]
        if t and (changed := np.flatnonzero(factor != factors[t - 1])).size:
            for a in changed:
                pacer.reprice(names[a], float(factor[a] / factors[t - 1, a]))
        track = Track.of(histories, now=float(t), n_rated=n_rated)
        prior = Prior.of(setting.quality, mass, stream.price * factor, nothing, knobs, track, joins > 0)
        sums = Sums(nothing, nothing, n_calls, cost_sum, nothing).repriced(factor)
        near = _recall(stream, memory, t, factor) if setting.has_context else Neighbours.none()
        beliefs = believe(Standing.of(prior, sums, track), near, knobs)
        absent = joins > t
        barred = absent | pacer.barred(np.where(absent, np.inf, beliefs.expected_cost_usd))
        probabilities = _probabilities(beliefs, setting, pacer, barred, knobs)
        choice = draw(probabilities, rng)
        arm = choice.index
        if setting.budget is not None:
            drawn = thompson.sample(
                beliefs.posterior, knobs.feedback_weight, -setting.lam * beliefs.expected_cost_usd, rng
            )
            pacer.record(np.where(absent, -np.inf, drawn), beliefs.expected_cost_usd, arm, names)
            pacer.settle(float(beliefs.expected_cost_usd[arm]), float(stream.costs[t, arm] * factor[arm]))

        memory.arm[t], memory.reward[t], memory.cost[t] = arm, stream.scores[t, arm], stream.costs[t, arm]
        memory.predicted[t] = beliefs.predicted[:, arm]
        memory.deviation[t] = beliefs.standing.deviation[arm]
        memory.n_rated[t], memory.n_changes[t] = n_rated, track.n_changes[arm]
        run.propensity[t], run.expected[t] = choice.propensity, float(probabilities @ probabilities)
        run.spent[t] = stream.costs[t, arm] * factor[arm]
        n_calls[arm] += 1
        cost_sum[arm] += stream.costs[t, arm]

        if setting.signals is not None and not stream.is_rated[t] and setting.signals[t, arm] > 0:
            weight = float(setting.signals[t, arm])
            histories[arm] = learn(histories[arm], _signalled(t, n_rated, weight))
            n_rated += weight

        told = t - stream.delay + 1
        if told >= 0 and stream.is_rated[told]:
            n_rated += 1
            rated = int(memory.arm[told])
            before = histories[rated].n_changes
            histories[rated] = learn(histories[rated], rating_at(memory, told))
            if histories[rated].n_changes > before:
                run.alarms.append((t, rated, histories[rated].is_fallen))
    return run


def _recall(stream: Stream, memory: Memory, t: int, factor: Floats) -> Neighbours:
    k = min(int(np.count_nonzero(stream.similarity[t] > 0)), t)
    near = stream.near[t][stream.similarity[t] > 0] if k else stream.near[t, :0]
    similarity = stream.similarity[t][stream.similarity[t] > 0] if k else stream.similarity[t, :0]
    arm = memory.arm[near]
    return Neighbours(
        arm=arm,
        similarity=similarity,
        age_s=(t - near).astype(np.float64),
        reward=memory.reward[near],
        cost_usd=memory.cost[near] * factor[arm],
        latency_s=np.zeros(near.size),
        weight=np.ones(near.size),
    )


def _probabilities(beliefs: Beliefs, setting: Setting, pacer: Pacer, barred: Bools, knobs: Knobs) -> Floats:
    """One price on dollars: the run's own, and the pacer's on top."""
    price = setting.lam + (0.0 if setting.budget is None else pacer.price / setting.budget)
    return ThompsonPolicy(knobs, price=price, barred=barred).probabilities(beliefs)


def _signalled(t: int, n_rated: float, weight: float) -> Rating:
    return Rating(float(t), n_rated, 0, predicted=None, deviation=1.0, score=Score(0.0, weight))


def rating_at(memory: Memory, t: int) -> Rating:
    return Rating(
        decided_at=float(t),
        n_rated=float(memory.n_rated[t]),
        n_changes=int(memory.n_changes[t]),
        predicted=tuple(memory.predicted[t].tolist()),
        deviation=float(memory.deviation[t]),
        score=Score(float(memory.reward[t])),
    )
