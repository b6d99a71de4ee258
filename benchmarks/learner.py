"""The service's learner on a stream: the same classes, in process, without HTTP, database or vector index."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bandit import thompson
from bandit.arrays import Bools, Floats, Ints, Vectors
from bandit.beliefs import Beliefs, Prior, PriorState, believe
from bandit.budget import Pacer
from bandit.drift import N_PREDICTIONS, ArmHistory, Rating, Score, learn
from bandit.ease import MOST_RATED, Ease, is_due
from bandit.evidence import Neighbours, Sums
from bandit.knobs import Knobs
from bandit.policy import ThompsonPolicy, draw
from bandit.records import ArmRecords
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
class RequestRun:
    """What happened; arrays have shape (n,).

    Args:
        propensity: of the chosen arm.
        expected, variance: of the propensity of the chosen arm, over arms drawn as often as they should be.
        alarms: position, arm, and whether it was for the worse.
    """

    chosen: Ints
    propensity: Floats
    expected: Floats
    variance: Floats
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


@dataclass(slots=True, eq=False)
class Fitting:
    """Ease, fitted now and then to what was rated, when the service would.

    Args:
        contexts: shape (n, d), of all requests of the stream.
        of_requests: shape (n,), their difficulty by the newest fit.
        sums: shape (n_arms,), over the rated requests in each arm's epoch then.
        began: shape (n_arms,), when those epochs began.
        n_fitted: rated requests then.
        difficulty: the newest fit.
    """

    contexts: Vectors
    of_requests: Floats
    sums: Floats
    began: Floats
    n_fitted: float = 0.0
    ease: Ease | None = None

    @classmethod
    def blank(cls, contexts: Vectors, n_arms: int) -> Fitting:
        return cls(contexts, np.zeros(contexts.shape[0]), *np.zeros((2, n_arms)))

    def keep_up(
        self, memory: Memory, rated: Sequence[int], histories: Sequence[ArmHistory], n: float
    ) -> None:
        """Fit again where that is due; rated: positions of the rated requests, n: how many they count for."""
        if not is_due(n, self.n_fitted):
            return
        newest = np.array(rated[-MOST_RATED:])
        arm, reward = memory.arm[newest], memory.reward[newest]
        self.began = np.array([history.epoch.started_at for history in histories])
        is_current = newest > self.began[arm]
        group = 2 * arm + is_current
        self.ease = Ease.fit(self.contexts[newest], group, reward, np.ones(newest.size))
        self.of_requests = self.ease.at(self.contexts)
        brought = np.where(is_current, self.of_requests[newest], 0.0)
        self.sums = np.bincount(arm, brought, minlength=len(histories)).astype(np.float64)
        self.n_fitted = n

    def at(self, context: Vectors) -> float:
        return 0.0 if self.ease is None else float(self.ease.at(context))

    def sums_of(self, histories: Sequence[ArmHistory]) -> Floats:
        """Shape (n_arms,); 0 where an arm changed since."""
        is_same = [h.epoch.started_at == b for h, b in zip(histories, self.began, strict=True)]
        return np.where(is_same, self.sums, 0.0)


def registry(stream: Stream, seed: int) -> Floats:
    """Prior means as a public table might give them: true, and wrong by about a tenth."""
    noise = np.random.default_rng(77_000 + seed).normal(0.0, REGISTRY_NOISE, stream.quality.size)
    return np.clip(stream.quality + noise, 0.02, 0.98)


def unknown(stream: Stream) -> Floats:
    return np.full(stream.quality.size, np.nan)


def replay(stream: Stream, setting: Setting, seed: int, knobs: Knobs = BASE) -> RequestRun:
    """Choose, see the chosen arm's score and cost, learn."""
    n, n_arms = stream.shape
    rng = np.random.default_rng(seed)
    names = tuple(str(arm) for arm in range(n_arms))
    pacer = Pacer(setting.budget)
    joins = np.zeros(n_arms, dtype=np.int64) if setting.joins is None else setting.joins
    factors = np.ones((n, n_arms)) if setting.price_factors is None else setting.price_factors
    histories = [ArmHistory() for _ in range(n_arms)]
    sums, cost_sum, n_calls = Sums.zeros(n_arms), np.zeros(n_arms), np.zeros(n_arms)
    nothing = np.zeros(n_arms)
    mass = np.where(np.isnan(setting.quality), np.nan, setting.mass)
    n_rated = 0.0
    memory = Memory.blank(n)
    fitting, rated = Fitting.blank(stream.contexts, n_arms), list[int]()
    run = RequestRun(memory.arm, *np.zeros((4, n)))

    for t in range(n):
        factor = factors[t]
        if t and (changed := np.flatnonzero(factor != factors[t - 1])).size:
            for a in changed:
                pacer.reprice(names[a], float(factor[a] / factors[t - 1, a]))
        if setting.has_context:
            fitting.keep_up(memory, rated, histories, n_rated)
        records = ArmRecords.of(histories, float(t), n_rated, fitting.sums_of(histories))
        prior = Prior.of(setting.quality, mass, stream.price * factor, nothing, knobs, records, joins > 0)
        sums = Sums(nothing, nothing, n_calls, cost_sum, nothing).repriced(factor)
        near = _recall(stream, memory, fitting, t, factor) if setting.has_context else Neighbours.none()
        beliefs = believe(PriorState.of(prior, sums, records, float(fitting.of_requests[t])), near, knobs)
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
        memory.deviation[t] = beliefs.prior_state.deviation[arm]
        memory.n_rated[t], memory.n_changes[t] = n_rated, records.n_changes[arm]
        run.propensity[t], run.expected[t] = choice.propensity, float(probabilities @ probabilities)
        run.variance[t] = float(probabilities @ (probabilities - run.expected[t]) ** 2)
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
            rated.append(told)
            answered = int(memory.arm[told])
            before = histories[answered].n_changes
            histories[answered] = learn(histories[answered], rating_at(memory, told))
            if histories[answered].n_changes > before:
                run.alarms.append((t, answered, histories[answered].is_fallen))
    return run


def _recall(stream: Stream, memory: Memory, fitting: Fitting, t: int, factor: Floats) -> Neighbours:
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
        ease=fitting.of_requests[near],
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
