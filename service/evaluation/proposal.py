"""Proposes other knobs and priors: chosen on the first half of the log, judged on the second."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from bandit.knobs import Knobs
from bandit.ope import NORMAL_975
from bandit.utility import UNNOTICED_S
from service.domain.arm import CONFIGURED, Arm
from service.domain.decision import LoggedRound
from service.evaluation.candidate import CandidateConfig
from service.evaluation.evaluate import Evaluation, evaluate, reason_against

LEAST_RATED = 30  # answers of an arm from which its prior is estimated
LARGEST_MASS = 50.0  # ratings that a prior is worth at most: arms change
LEAST_ROUNDS = 40
ESTIMATOR = "doubly_robust"


@dataclass(frozen=True, slots=True)
class EstimatedPrior:
    """An arm's mean reward over all kinds of requests, and the ratings that the estimate is worth."""

    quality: float
    mass: float


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs from the running configuration: knobs by name, and priors by arm."""

    knobs: Mapping[str, float] = field(default_factory=dict)
    priors: Mapping[str, EstimatedPrior] = field(default_factory=dict)

    def __add__(self, other: Changes) -> Changes:
        return Changes({**self.knobs, **other.knobs}, {**self.priors, **other.priors})

    def applied(self, running: CandidateConfig) -> CandidateConfig:
        knobs = replace(running.knobs, **self.knobs)  # type: ignore[arg-type]  # whole numbers stay whole
        return replace(running, knobs=knobs, arms=tuple(self._with_prior(arm) for arm in running.arms))

    def _with_prior(self, arm: Arm) -> Arm:
        if (prior := self.priors.get(arm.arm_id)) is None:
            return arm
        return replace(arm, prior_quality=prior.quality, prior_mass=prior.mass, prior_source=CONFIGURED)


@dataclass(frozen=True, slots=True)
class Gain:
    """A gain in utility per request under the operator's weights; [low, high] has at least 95 %."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Proposal:
    """The best changes, and their evaluation on rounds that had no part in choosing them.

    Args:
        gain: None: the evaluation was refused, or no change looked better.
        n_tried: configurations that were evaluated to choose.
    """

    changes: Changes
    evaluation: Evaluation
    gain: Gain | None
    n_tried: int

    @property
    def is_better(self) -> bool:
        return self.gain is not None and self.gain.low > 0


@dataclass(frozen=True, slots=True)
class _Scales:
    """The utility of a reward, a dollar and a second: dollars and seconds count by the most expensive and
    the slowest arm of a request, as in the router's own utility.
    """

    by_measure: Mapping[str, float]

    @classmethod
    def of(cls, rounds: Sequence[LoggedRound], knobs: Knobs) -> _Scales:
        largest = [
            [max(c[name] for c in logged.explanation["candidates"]) for logged in rounds]
            for name in ("expected_cost_usd", "expected_latency_s")
        ]
        usd, seconds = float(np.mean(largest[0])), float(np.mean(largest[1])) + UNNOTICED_S
        return cls(
            {
                "reward": knobs.feedback_weight,
                "cost_usd": knobs.cost_weight / usd if usd > 0 else 0.0,
                "latency_s": -knobs.latency_weight / seconds,
            }
        )

    def gain(self, evaluation: Evaluation) -> Gain | None:
        """The gain over the log; None: refused.

        The measures of a round depend on each other in an unknown way, so their errors are added: the
        interval is as wide as it would be at worst.
        """
        if evaluation.refusal is not None or "reward" not in evaluation.measures:
            return None
        value = error = 0.0
        for name, measured in evaluation.measures.items():
            difference = measured.by[ESTIMATOR].difference
            value += self.by_measure[name] * difference.value
            error += abs(self.by_measure[name]) * difference.standard_error
        reach = NORMAL_975 * error
        return Gain(value, value - reach, value + reach)


async def propose(
    rounds: Sequence[LoggedRound],
    running: CandidateConfig,
    steps: Sequence[Changes],
    *,
    with_priors: Sequence[str] = (),
) -> Proposal:
    """Choose changes on the first half of the rounds, and judge them on the second.

    The weights are the operator's, and stay. A change that the log cannot judge is not proposed.

    Args:
        rounds: complete ones in their order, at least LEAST_ROUNDS.
        steps: changes of single knobs, of which the good ones are combined.
        with_priors: ids of the arms whose prior may be proposed.
    """
    first, second = rounds[: len(rounds) // 2], rounds[len(rounds) // 2 :]
    scales = _Scales.of(first, running.knobs)

    async def gain_of(changes: Changes) -> float:
        gain = scales.gain(await _evaluated(first, changes.applied(running)))
        return float("-inf") if gain is None else gain.value

    singles = [*steps]
    if priors := _priors(first, with_priors):
        singles.append(Changes(priors=priors))
    singles = [each for each in singles if reason_against(running.knobs, each.applied(running).knobs) is None]
    gains = [await gain_of(each) for each in singles]
    best, best_gain, n_tried = Changes(), 0.0, len(singles)
    for gain, each in sorted(zip(gains, singles, strict=True), key=lambda pair: -pair[0]):
        if gain <= 0 or each.knobs.keys() & best.knobs.keys():
            continue
        together = await gain_of(best + each) if best != Changes() else gain
        n_tried += best != Changes()
        if together > best_gain:
            best, best_gain = best + each, together
    evaluation = await _evaluated(second, best.applied(running))
    return Proposal(best, evaluation, scales.gain(evaluation) if best != Changes() else None, n_tried)


def too_few(rounds: Sequence[LoggedRound]) -> str | None:
    """Why there are too few rounds to propose anything; None: there are enough."""
    if len(rounds) >= LEAST_ROUNDS:
        return None
    return f"the range has {len(rounds)} decisions that can be decided again, and {LEAST_ROUNDS} are needed"


async def _evaluated(rounds: Sequence[LoggedRound], candidate: CandidateConfig) -> Evaluation:
    async def stream() -> AsyncIterator[LoggedRound]:
        for logged in rounds:
            yield logged

    return await evaluate(stream(), candidate, rounds[0].decided_at, rounds[-1].decided_at)


def steps_of(knobs: Knobs) -> Iterator[Changes]:
    """Other values of single knobs, near the running ones: far ones have no support in the log."""
    tried: Mapping[str, Sequence[float]] = {
        "exploration_rate": (0.0, knobs.exploration_rate / 2, knobs.exploration_rate + 0.02),
        "propensity_floor": (knobs.propensity_floor / 2, knobs.propensity_floor * 2),
        "max_similar_requests": (knobs.max_similar_requests // 2, knobs.max_similar_requests // 4),
        "min_similar_requests": (knobs.min_similar_requests // 2, knobs.min_similar_requests * 2),
        "similarity_threshold": (knobs.similarity_threshold + 0.2, knobs.similarity_threshold + 0.4),
        "recency_days": (knobs.recency_days / 2,),
        "min_confidence_score": (0.0, knobs.min_confidence_score * 2),
        "optimistic_prior": (knobs.optimistic_prior - 0.1, knobs.optimistic_prior + 0.1),
        "exploration_bonus": (0.0, knobs.exploration_bonus + 0.05),
    }
    for name, values in tried.items():
        for value in dict.fromkeys(values):
            if value != getattr(knobs, name) and _is_allowed(knobs, name, value):
                yield Changes({name: value})


def _is_allowed(knobs: Knobs, name: str, value: float) -> bool:
    try:
        replace(knobs, **{name: value})  # type: ignore[arg-type]
    except ValueError:
        return False
    return name != "optimistic_prior" or 0 < value < 1


def _priors(rounds: Sequence[LoggedRound], arm_ids: Sequence[str]) -> dict[str, EstimatedPrior]:
    """The mean reward of each arm, weighted by the inverse of its propensities (SNIPS)."""
    found: dict[str, EstimatedPrior] = {}
    for arm_id in arm_ids:
        rated = [logged for logged in rounds if logged.arm_id == arm_id and logged.reward is not None]
        if len(rated) < LEAST_RATED:
            continue
        weights = np.array([1.0 / _propensity(logged) for logged in rated])
        rewards = np.array([logged.reward for logged in rated], dtype=np.float64)
        mass = min(float(weights.sum() ** 2 / (weights @ weights)), LARGEST_MASS)
        found[arm_id] = EstimatedPrior(round(float(weights @ rewards / weights.sum()), 3), round(mass, 1))
    return found


def _propensity(logged: LoggedRound) -> float:
    candidates = logged.explanation["candidates"]
    return float(next(c["probability"] for c in candidates if c["arm_id"] == logged.arm_id))
