"""Off-policy evaluation: estimate the reward, cost and latency of other knobs from the log."""

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
LEAST_NOISE = 0.01  # least variance of a reward, also if it is predicted to be 0 or 1


@dataclass(frozen=True, slots=True)
class MeasureEstimate:
    """One measure: its value in the log, and the candidate's by each estimator.

    Args:
        n: rounds that have the measure.
        lost: share of the candidate's choices in these rounds without support in the log.
        effective_n: rounds of the candidate's own log with as much information.
        is_enough: whether that is enough for an estimate.
    """

    n: int
    lost: float
    effective_n: float
    is_enough: bool
    logged: Estimate
    by: dict[str, Comparison]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The estimates for a candidate, or why there are none.

    Args:
        n_rounds: decisions that the router made by itself.
        n_incomplete: decisions of an early version, which cannot be decided again.
        unseen: by arm of the candidate, the number of rounds before it existed.
        refusal: why there is no estimate; None: there is one.
        measures: by name; empty after a refusal.
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
    """The rounds of one measure so far, in batches."""

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
    """Decide every round again, and estimate the measures of these decisions.

    A decision includes all that follows: if the drawn arm failed and another answered, the decision has the
    reward, dollars and seconds of that answer, at the propensity of the drawn arm.
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
        judged = candidate.weigh(logged)
        unseen.update(judged.unseen)
        batch.append((logged, judged))
        if len(batch) == BATCH:
            _add(columns, batch)
            batch = []
    _add(columns, batch)
    measured = {measure: result for measure in MEASURES if (result := columns[measure].measured())}
    refusal = _refusal(measured, unseen)
    return Evaluation(
        since, until, n_rounds, n_incomplete, dict(unseen), refusal, {} if refusal else measured
    )


def reason_against(running: Knobs, candidate: Knobs) -> str | None:
    """Why a log of the running knobs cannot evaluate the candidate's; None: it may.

    The log has neither neighbours that were not recalled nor the pacing of another budget.
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
            f"{running.budget_usd_per_request or 'absent'} in the running configuration. The price of "
            "a dollar in utility then depends on all earlier requests, which the log cannot replay: evaluate "
            "the other knobs with the running budget, or without a budget."
        )
    return None


def _wider(name: str, running: float, candidate: float) -> str:
    return (
        f"{name} is {running:g} in the running configuration and {candidate:g} in the candidate, which would "
        "recall past requests that are not in the log: only as many neighbours or fewer can be evaluated."
    )


def refused(since: datetime, until: datetime, refusal: str) -> Evaluation:
    """A refusal without reading the log."""
    return Evaluation(since, until, 0, 0, {}, refusal, {})


def _add(columns: dict[str, _Columns], batch: Sequence[tuple[LoggedRound, JudgedRound]]) -> None:
    if not batch:
        return
    drawn: Ints = np.array([judged.drawn for _, judged in batch], dtype=np.int64)
    propensities = _padded([judged.logged for _, judged in batch])
    target = _padded([judged.target for _, judged in batch])
    for i, measure in enumerate(MEASURES):
        outcomes = np.array([_outcome(logged, judged, measure) for logged, judged in batch])
        has: Bools = ~np.isnan(outcomes)
        if not has.any():
            continue
        predicted = _padded([judged.predicted[i] for _, judged in batch])[has]
        noise = np.maximum(predicted * (1.0 - predicted), LEAST_NOISE) if i == 0 else predicted**2
        rounds = columns[measure]
        rounds.outcomes.append(outcomes[has])
        rounds.overlaps.append(Overlap.of(propensities[has], target[has], drawn[has]))
        rounds.forecasts.append(Forecast.of(propensities[has], target[has], drawn[has], predicted, noise))


def _outcome(logged: LoggedRound, judged: JudgedRound, measure: str) -> float:
    """The logged value, NaN for None; dollars at the candidate's prices."""
    value: float | None = getattr(logged, measure)
    if value is None:
        return float("nan")
    return judged.repriced.of(value) if measure == "cost_usd" else value


def _padded(rows: Sequence[Floats]) -> Floats:
    """The rows as one array, padded with 0: the number of eligible arms differs."""
    result = np.zeros((len(rows), max(row.size for row in rows)))
    for line, row in zip(result, rows, strict=True):
        line[: row.size] = row
    return result


def _refusal(measured: dict[str, MeasureEstimate], unseen: Counter[str]) -> str | None:
    if not measured:
        return "This range has no answered or rated decision that the router made by itself."
    reasons = [_shortfall(name, result) for name, result in measured.items() if not result.is_enough]
    if not reasons:
        return None
    hints = "".join(
        f" {arm_id} did not exist yet in {n} decisions: leave it out, or set --since to when it was added."
        for arm_id, n in sorted(unseen.items())
    )
    return (
        f"The log is not enough for an estimate. {' '.join(reasons)}{hints} Evaluate a longer range or a "
        "candidate closer to the running configuration, or run with a higher EXPLORATION_RATE or "
        "PROPENSITY_FLOOR for a while."
    )


def _shortfall(name: str, result: MeasureEstimate) -> str:
    if result.lost > LARGEST_LOST:
        return (
            f"{name}: {result.lost:.1%} of the candidate's choices were never made in the log, or more than "
            f"{LARGEST_WEIGHT:g} times less often; the limit is {LARGEST_LOST:.1%}."
        )
    needed = max(LEAST_EFFECTIVE_N, LEAST_EFFECTIVE_SHARE * result.n)
    return (
        f"{name}: {result.n} decisions are worth {result.effective_n:.0f} of the candidate's own; "
        f"{needed:.0f} are needed."
    )
