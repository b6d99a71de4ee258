"""The service's learner on a stream, with the same classes, in process, without HTTP, database or index."""

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
from bandit.utility import utility_terms
from benchmarks.streams import Stream
from service.arms.priors import public_prior
from service.routing.priors import USUAL_LATENCY_S

REGISTRY_NOISE = 0.1
# Few sets have latencies, and each run has its own price of dollars: with a budget of 1, per unit of cost.
BASE = Knobs(feedback_weight=1.0, latency_weight=0.0, cost_weight=0.0, budget_usd_per_request=1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """The conditions of a run.

    Args:
        lam: price of dollars in the utility; with a budget, in addition to the pacer's price.
        quality: shape (n_arms,), prior means; NaN where unknown.
        budget: the mean cost per request that the pacer keeps; None: no budget.
        joins: shape (n_arms,), position from which an arm may be chosen.
        price_factors: shape (n, n_arms), announced prices relative to the recorded ones; None: as recorded.
        has_context: whether neighbours are recalled.
        mass: observations that a known prior mean is worth; NaN: the learner's default.
        signals: shape (n, n_arms), weight of the implicit signal of each arm's answer. It counts if the
            answer is not rated, and only in the sums: such a request is never a neighbour.
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
class StreamRun:
    """The result of a run; arrays have shape (n,).

    Args:
        propensity: of the chosen arm.
        expected, variance: of that propensity, if arms are drawn by their propensities.
        alarms: position, arm, and whether the change was for the worse.
    """

    chosen: Ints
    propensity: Floats
    expected: Floats
    variance: Floats
    spent: Floats
    alarms: list[tuple[int, int, bool]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Memory:
    """The log of each request, shape (n,); predictions (n, n_predictions)."""

    arm: Ints
    reward: Floats
    cost: Floats
    latency: Floats
    predicted: Floats
    deviation: Floats
    n_rated: Floats
    n_changes: Ints

    @classmethod
    def blank(cls, n: int) -> Memory:
        positions, numbers = np.zeros((2, n), dtype=np.int64), np.zeros((5, n))
        return cls(
            arm=positions[0],
            reward=numbers[0],
            cost=numbers[1],
            predicted=np.zeros((n, N_PREDICTIONS)),
            latency=numbers[2],
            deviation=numbers[3],
            n_rated=numbers[4],
            n_changes=positions[1],
        )


@dataclass(slots=True, eq=False)
class Fitting:
    """Ease, fitted to the rated requests whenever the service would fit it.

    Args:
        contexts: shape (n, d), of all requests of the stream.
        of_requests: shape (n,), ease of each request by the newest fit.
        sums: shape (n_arms,), ease summed over the rated requests in each arm's epoch at the newest fit.
        epoch_starts: shape (n_arms,), starts of these epochs.
        n_fitted: rated requests at the newest fit.
        ease: the newest fit.
    """

    contexts: Vectors
    of_requests: Floats
    sums: Floats
    epoch_starts: Floats
    n_fitted: float = 0.0
    ease: Ease | None = None

    @classmethod
    def blank(cls, contexts: Vectors, n_arms: int) -> Fitting:
        return cls(contexts, np.zeros(contexts.shape[0]), *np.zeros((2, n_arms)))

    def refit_if_due(
        self, memory: Memory, rated: Sequence[int], histories: Sequence[ArmHistory], n: float
    ) -> None:
        """Fit again if that is due; rated: positions of the rated requests, n: their weight."""
        if not is_due(n, self.n_fitted):
            return
        newest = np.array(rated[-MOST_RATED:])
        arm, reward = memory.arm[newest], memory.reward[newest]
        self.epoch_starts = np.array([history.epoch.started_at for history in histories])
        is_current = newest > self.epoch_starts[arm]
        group = 2 * arm + is_current
        self.ease = Ease.fit(self.contexts[newest], group, reward, np.ones(newest.size))
        self.of_requests = self.ease.at(self.contexts)
        current_ease = np.where(is_current, self.of_requests[newest], 0.0)
        self.sums = np.bincount(arm, current_ease, minlength=len(histories)).astype(np.float64)
        self.n_fitted = n

    def at(self, context: Vectors) -> float:
        return 0.0 if self.ease is None else float(self.ease.at(context))

    def sums_of(self, histories: Sequence[ArmHistory]) -> Floats:
        """Shape (n_arms,); 0 for an arm that changed since the newest fit."""
        is_same = [h.epoch.started_at == s for h, s in zip(histories, self.epoch_starts, strict=True)]
        return np.where(is_same, self.sums, 0.0)


def registry(stream: Stream, seed: int) -> Floats:
    """Prior means as in a public table: the true means plus an error of about a tenth."""
    noise = np.random.default_rng(77_000 + seed).normal(0.0, REGISTRY_NOISE, stream.quality.size)
    return np.clip(stream.quality + noise, 0.02, 0.98)


def public(stream: Stream) -> Floats:
    """Prior means of the shipped table; NaN for an arm that is not in it."""
    known = [public_prior(arm) for arm in stream.arms]
    return np.array([np.nan if prior is None else prior.quality for prior in known])


def unknown(stream: Stream) -> Floats:
    return np.full(stream.quality.size, np.nan)


def replay(stream: Stream, setting: Setting, seed: int, knobs: Knobs = BASE) -> StreamRun:
    """Choose an arm for each request, observe its score and cost, and learn."""
    n, n_arms = stream.shape
    rng = np.random.default_rng(seed)
    names = tuple(str(arm) for arm in range(n_arms))
    pacer = Pacer(setting.budget)
    joins = np.zeros(n_arms, dtype=np.int64) if setting.joins is None else setting.joins
    factors = np.ones((n, n_arms)) if setting.price_factors is None else setting.price_factors
    histories = [ArmHistory() for _ in range(n_arms)]
    sums, cost_sum, latency_sum, n_calls = Sums.zeros(n_arms), *np.zeros((3, n_arms))
    zeros = np.zeros(n_arms)
    usual_latency = np.full(n_arms, USUAL_LATENCY_S) if stream.latencies.any() else zeros
    mass = np.where(np.isnan(setting.quality), np.nan, setting.mass)
    n_rated = 0.0
    memory = Memory.blank(n)
    fitting, rated = Fitting.blank(stream.contexts, n_arms), list[int]()
    run = StreamRun(memory.arm, *np.zeros((4, n)))

    for t in range(n):
        factor = factors[t]
        if t and (changed := np.flatnonzero(factor != factors[t - 1])).size:
            for a in changed:
                pacer.reprice(names[a], float(factor[a] / factors[t - 1, a]))
        if setting.has_context:
            fitting.refit_if_due(memory, rated, histories, n_rated)
        records = ArmRecords.of(histories, float(t), n_rated, fitting.sums_of(histories))
        prior = Prior.of(
            setting.quality,
            mass,
            stream.price * factor,
            usual_latency,
            knobs,
            records,
            joins > 0,
            stream.price * factor,
        )
        sums = Sums(zeros, zeros, n_calls, cost_sum, latency_sum, zeros).repriced(factor)
        prior_state = PriorState.of(prior, sums, records, float(fitting.of_requests[t]))
        neighbours = _recall(stream, memory, fitting, t, factor) if setting.has_context else Neighbours.none()
        beliefs = believe(prior_state, neighbours, knobs)
        absent = joins > t
        barred = absent | pacer.barred(np.where(absent, np.inf, beliefs.expected_cost_usd))
        probabilities = _probabilities(beliefs, setting, pacer, barred, knobs)
        choice = draw(probabilities, rng)
        arm = choice.index
        if setting.budget is not None:
            offset = utility_terms(beliefs, knobs, setting.lam).offset
            drawn = thompson.sample(beliefs.posterior, knobs.feedback_weight, offset, rng)
            pacer.record(np.where(absent, -np.inf, drawn), beliefs.expected_cost_usd, arm, names)
            pacer.settle(float(beliefs.expected_cost_usd[arm]), float(stream.costs[t, arm] * factor[arm]))

        memory.arm[t], memory.reward[t] = arm, stream.scores[t, arm]
        memory.cost[t], memory.latency[t] = stream.costs[t, arm], stream.latencies[t, arm]
        memory.predicted[t] = beliefs.predicted[:, arm]
        memory.deviation[t] = beliefs.prior_state.deviation[arm]
        memory.n_rated[t], memory.n_changes[t] = n_rated, records.n_changes[arm]
        run.propensity[t], run.expected[t] = choice.propensity, float(probabilities @ probabilities)
        run.variance[t] = float(probabilities @ (probabilities - run.expected[t]) ** 2)
        run.spent[t] = stream.costs[t, arm] * factor[arm]
        n_calls[arm] += 1
        cost_sum[arm] += stream.costs[t, arm]
        latency_sum[arm] += stream.latencies[t, arm]

        if setting.signals is not None and not stream.is_rated[t] and setting.signals[t, arm] > 0:
            weight = float(setting.signals[t, arm])
            histories[arm] = learn(histories[arm], _signal_at(t, n_rated, weight))
            n_rated += weight

        earlier = t - stream.delay + 1
        if earlier >= 0 and stream.is_rated[earlier]:
            n_rated += 1
            rated.append(earlier)
            answered = int(memory.arm[earlier])
            before = histories[answered].n_changes
            histories[answered] = learn(histories[answered], rating_at(memory, earlier))
            if histories[answered].n_changes > before:
                run.alarms.append((t, answered, histories[answered].is_fallen))
    return run


def _recall(stream: Stream, memory: Memory, fitting: Fitting, t: int, factor: Floats) -> Neighbours:
    k = min(int(np.count_nonzero(stream.similarity[t] > 0)), t)
    positions = stream.neighbours[t][stream.similarity[t] > 0] if k else stream.neighbours[t, :0]
    similarity = stream.similarity[t][stream.similarity[t] > 0] if k else stream.similarity[t, :0]
    arm = memory.arm[positions]
    return Neighbours(
        arm=arm,
        similarity=similarity,
        age_s=(t - positions).astype(np.float64),
        reward=memory.reward[positions],
        cost_usd=memory.cost[positions] * factor[arm],
        latency_s=memory.latency[positions],
        weight=np.ones(positions.size),
        ease=fitting.of_requests[positions],
    )


def _probabilities(beliefs: Beliefs, setting: Setting, pacer: Pacer, barred: Bools, knobs: Knobs) -> Floats:
    """Compute probabilities with one price of dollars: the run's plus the pacer's."""
    price = setting.lam + (0.0 if setting.budget is None else pacer.price / setting.budget)
    return ThompsonPolicy(knobs, price=price, barred=barred).probabilities(beliefs)


def _signal_at(t: int, n_rated: float, weight: float) -> Rating:
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
