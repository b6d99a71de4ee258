"""What other knobs would have brought: a candidate judged by the log of decisions."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from bandit.arrays import Bools, Floats, Ints
from bandit.knobs import Knobs
from bandit.ope import (
    LARGEST_LOST,
    LARGEST_WEIGHT,
    LEAST_EFFECTIVE_N,
    LEAST_EFFECTIVE_SHARE,
    Comparison,
    Estimate,
    Forecast,
    Overlap,
    compare,
    joined,
)
from service.domain.decision import LoggedRound
from service.evaluation.candidate import CandidateConfig, JudgedRound, is_complete

BATCH = 500
MEASURES = ("reward", "cost_usd", "latency_s")  # in the order of JudgedRound.predicted
LEAST_NOISE = 0.01  # variance of a reward that is taken for certain


@dataclass(frozen=True, slots=True)
class MeasureEstimate:
    """One measure: of the log, and of the candidate by each estimator.

    Args:
        n: rounds that have it.
        lost: share of the candidate's choices, in these rounds, that the log hardly ever made.
        effective_n: rounds of the candidate's own log that would tell as much.
        is_enough: whether that allows a statement.
    """

    n: int
    lost: float
    effective_n: float
    is_enough: bool
    logged: Estimate
    by: dict[str, Comparison]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What the log says of a candidate.

    Args:
        n_rounds: decisions that the router made by itself.
        n_incomplete: those that cannot be decided again, logged by an early version.
        unseen: arms of the candidate, and in how many rounds they were not there yet.
        refusal: why nothing is said; None: something is.
        measures: by name; none where it was refused.
    """

    since: datetime
    until: datetime
    n_rounds: int
    n_incomplete: int
    unseen: dict[str, int]
    refusal: str | None
    measures: dict[str, MeasureEstimate]


@dataclass(slots=True)
class _Columns:
    """One measure's rounds so far, batch by batch."""

    outcomes: list[Floats] = field(default_factory=list)
    overlaps: list[Overlap] = field(default_factory=list)
    forecasts: list[Forecast] = field(default_factory=list)

    def measured(self) -> MeasureEstimate | None:
        if not self.outcomes:
            return None
        outcomes, overlap = np.concatenate(self.outcomes), joined(self.overlaps)
        return MeasureEstimate(
            n=outcomes.size,
            lost=overlap.lost,
            effective_n=overlap.effective_n,
            is_enough=overlap.is_enough,
            logged=Estimate.of(outcomes),
            by=compare(outcomes, overlap, joined(self.forecasts)) if overlap.is_enough else {},
        )


async def evaluate(
    rounds: AsyncIterator[LoggedRound], candidate: CandidateConfig, since: datetime, until: datetime
) -> Evaluation:
    """Decide every round again and estimate what would have come of it.

    The estimate is of deciding for an arm, whatever follows: where the arm drawn failed and another answered,
    the decision has that answer's reward, dollars and seconds, at the propensity of the arm drawn.
    """
    columns = {measure: _Columns() for measure in MEASURES}
    batch: list[tuple[LoggedRound, JudgedRound]] = []
    unseen: Counter[str] = Counter()
    n_rounds = n_incomplete = 0
    async for logged in rounds:
        n_rounds += 1
        if not is_complete(logged):
            n_incomplete += 1
            continue
        weighed = candidate.weigh(logged)
        unseen.update(weighed.unseen)
        batch.append((logged, weighed))
        if len(batch) == BATCH:
            _add(columns, batch)
            batch = []
    _add(columns, batch)
    measured = {measure: result for measure in MEASURES if (result := columns[measure].measured())}
    refusal = _refusal(measured, unseen)
    return Evaluation(
        since, until, n_rounds, n_incomplete, dict(unseen), refusal, {} if refusal else measured
    )


def why_not(running: Knobs, candidate: Knobs) -> str | None:
    """Why a log of the running knobs cannot tell anything of the candidate's; None: it may.

    Neighbours that were never recalled are unknown, and so is how another budget would have been paced.
    """
    if candidate.max_similar_requests > running.max_similar_requests:
        return _wider("MAX_SIMILAR_REQUESTS", running.max_similar_requests, candidate.max_similar_requests)
    if candidate.similarity_threshold < running.similarity_threshold:
        return _wider("SIMILARITY_THRESHOLD", running.similarity_threshold, candidate.similarity_threshold)
    if candidate.recency_days > running.recency_days:
        return _wider("RECENCY_DAYS", running.recency_days, candidate.recency_days)
    if candidate.budget_usd_per_request not in {None, running.budget_usd_per_request}:
        return (
            f"BUDGET_USD_PER_REQUEST is {candidate.budget_usd_per_request:g} in the candidate and "
            f"{running.budget_usd_per_request or 'absent'} in the running configuration. What a dollar costs "
            "in utility then depends on all requests before, which the log cannot replay: evaluate the other "
            "knobs with the running budget, or with none."
        )
    return None


def _wider(name: str, running: float, candidate: float) -> str:
    return (
        f"{name} is {running:g} in the running configuration and {candidate:g} in the candidate, which would "
        "recall past requests that the log does not hold: only as many neighbours or fewer can be evaluated."
    )


def refused(since: datetime, until: datetime, refusal: str) -> Evaluation:
    """An evaluation that the log was not even read for."""
    return Evaluation(since, until, 0, 0, {}, refusal, {})


def _add(columns: dict[str, _Columns], batch: Sequence[tuple[LoggedRound, JudgedRound]]) -> None:
    if not batch:
        return
    drawn: Ints = np.array([weighed.drawn for _, weighed in batch], dtype=np.int64)
    propensities = _padded([weighed.logged for _, weighed in batch])
    target = _padded([weighed.target for _, weighed in batch])
    for i, measure in enumerate(MEASURES):
        outcomes = np.array([_outcome(logged, weighed, measure) for logged, weighed in batch])
        has: Bools = ~np.isnan(outcomes)
        if not has.any():
            continue
        predicted = _padded([weighed.predicted[i] for _, weighed in batch])[has]
        noise = np.maximum(predicted * (1.0 - predicted), LEAST_NOISE) if i == 0 else predicted**2
        told = columns[measure]
        told.outcomes.append(outcomes[has])
        told.overlaps.append(Overlap.of(propensities[has], target[has], drawn[has]))
        told.forecasts.append(Forecast.of(propensities[has], target[has], drawn[has], predicted, noise))


def _outcome(logged: LoggedRound, weighed: JudgedRound, measure: str) -> float:
    """NaN where there is none; dollars at the candidate's prices."""
    value: float | None = getattr(logged, measure)
    if value is None:
        return float("nan")
    return weighed.repriced.of(value) if measure == "cost_usd" else value


def _padded(rows: Sequence[Floats]) -> Floats:
    """Line up rounds whose eligible arms differ in number."""
    result = np.zeros((len(rows), max(row.size for row in rows)))
    for line, row in zip(result, rows, strict=True):
        line[: row.size] = row
    return result


def _refusal(measured: dict[str, MeasureEstimate], unseen: Counter[str]) -> str | None:
    if not measured:
        return "There is no answered or rated decision of the router's own in this range."
    reasons = [_thin(name, result) for name, result in measured.items() if not result.is_enough]
    if not reasons:
        return None
    late = "".join(
        f" {arm_id} was not there yet in {n} decisions: leave it out, or ask --since it came."
        for arm_id, n in sorted(unseen.items())
    )
    return (
        f"The log cannot tell. {' '.join(reasons)}{late} Ask about a longer range or a candidate nearer to "
        "the running configuration, or run with a higher EXPLORATION_RATE or PROPENSITY_FLOOR for a while."
    )


def _thin(name: str, result: MeasureEstimate) -> str:
    if result.lost > LARGEST_LOST:
        return (
            f"{name}: {result.lost:.1%} of the candidate's choices were never made in the log, or more than "
            f"{LARGEST_WEIGHT:g} times more rarely; {LARGEST_LOST:.1%} is the limit."
        )
    least = max(LEAST_EFFECTIVE_N, LEAST_EFFECTIVE_SHARE * result.n)
    return (
        f"{name}: {result.n} decisions tell as much as {result.effective_n:.0f} of the candidate's own "
        f"would; {least:.0f} are needed."
    )
