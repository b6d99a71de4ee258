"""The service's learner on a stream, with the same classes, in process, without HTTP, database or index."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from bandit import thompson
from bandit.arrays import Bools, Floats, Ints
from bandit.beliefs import Beliefs, PriorState, believe
from bandit.budget import Pacer
from bandit.drift import ArmHistory, Rating, Score, learn
from bandit.evidence import Neighbours, Sums
from bandit.knobs import Knobs
from bandit.policy import ThompsonPolicy, draw
from bandit.prior import Prior
from bandit.records import ArmRecords
from bandit.utility import utility_terms
from benchmarks.memory import Fitting, Memory, answers, imported
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
        is_relative: whether the prior means were measured on other requests, as those of the public table.
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
    is_relative: bool = False
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
    cost_sum, cost_squares, latency_sum, latency_squares, n_calls = np.zeros((5, n_arms))
    zeros = np.zeros(n_arms)
    memory = Memory.of(stream)
    fitting, rated = Fitting.of(stream), list(range(n - memory.arm.size, 0))
    n_rated = float(len(rated))
    if (calibration := stream.calibration) is not None:
        histories = imported(calibration)
        cost_sum += calibration.costs.sum(axis=0)
        cost_squares += (calibration.costs**2).sum(axis=0)
        latency_sum += calibration.latencies.sum(axis=0)
        latency_squares += (calibration.latencies**2).sum(axis=0)
        n_calls += calibration.scores.shape[0]
    usual_latency = np.full(n_arms, USUAL_LATENCY_S) if stream.latencies.any() else zeros
    mass = np.where(np.isnan(setting.quality), np.nan, setting.mass)
    run = StreamRun(memory.arm[:n], *np.zeros((4, n)))

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
            np.full(n_arms, setting.is_relative),
        )
        billed = Sums(zeros, zeros, n_calls, cost_sum, latency_sum, zeros, cost_squares, latency_squares)
        sums = billed.repriced(factor)
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
        cost_squares[arm] += stream.costs[t, arm] ** 2
        latency_sum[arm] += stream.latencies[t, arm]
        latency_squares[arm] += stream.latencies[t, arm] ** 2

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
            histories[answered] = learn(histories[answered], memory.rating(earlier))
            if histories[answered].n_changes > before:
                run.alarms.append((t, answered, histories[answered].is_fallen))
    return run


def _recall(stream: Stream, memory: Memory, fitting: Fitting, t: int, factor: Floats) -> Neighbours:
    is_near = stream.similarity[t] > 0
    positions, similarity, prompt = answers(
        stream.neighbours[t][is_near], stream.similarity[t][is_near], factor.size
    )
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
        prompt=prompt,
    )


def _probabilities(beliefs: Beliefs, setting: Setting, pacer: Pacer, barred: Bools, knobs: Knobs) -> Floats:
    """Compute probabilities with one price of dollars: the run's plus the pacer's."""
    price = setting.lam + (0.0 if setting.budget is None else pacer.price / setting.budget)
    return ThompsonPolicy(knobs, price=price, barred=barred).probabilities(beliefs)


def _signal_at(t: int, n_rated: float, weight: float) -> Rating:
    return Rating(float(t), n_rated, 0, predicted=None, deviation=1.0, score=Score(0.0, weight))
