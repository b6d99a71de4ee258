"""The report of a replay: the router compared with fixed choices on the same rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from service.commands.jobs.replay.outcomes import Floats, Outcomes
from service.domain.basics import Json

# The router's default weights; latency is not recorded and has no weight.
FEEDBACK_WEIGHT, COST_WEIGHT = 0.6, -0.2
SHOWN_ERRORS = 5


@dataclass(frozen=True, slots=True)
class Routed:
    """One row that the router answered."""

    row: int
    model: str
    cost_usd: float  # as the router billed it
    overhead_ms: float  # the router's own time, without the calls


@dataclass(frozen=True, slots=True)
class Failed:
    """One row that the router did not answer, or whose answer broke the API's contract."""

    row: int
    error: str


@dataclass(frozen=True, slots=True)
class ReportRow:
    """The result of one way of choosing.

    Utility is 0.6 * score - 0.2 * dollars / (dollars of the most expensive model for that prompt).
    """

    name: str
    mean_score: float
    cost_usd: float
    mean_utility: float


@dataclass(frozen=True, slots=True)
class Gain:
    """A mean difference per request to a uniform choice, above 0 if the router is better."""

    mean: float
    standard_error: float

    @classmethod
    def of(cls, differences: Floats) -> Gain:
        n = len(differences)
        spread = float(differences.std(ddof=1)) if n > 1 else 0.0
        return cls(float(differences.mean()), spread / float(np.sqrt(n)))

    @property
    def verdict(self) -> str:
        if self.mean <= 0:
            return "NO"
        return "yes" if self.mean > 2 * self.standard_error else "yes, but within noise"


@dataclass(frozen=True, slots=True)
class Curve:
    """Means of the last `window` requests, for the router and for a uniform choice on the same rows.

    The first value is the mean of the first `first` requests.
    """

    window: int
    first: int
    score: list[float]
    cost_usd: list[float]
    random_score: list[float]
    random_cost_usd: list[float]


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of one replay; fixed choices are judged on the answered rows."""

    n: int
    n_failed: int
    errors: list[str]  # the first few
    router: ReportRow
    best: ReportRow  # the best single model by score, known only in hindsight
    cheapest: ReportRow  # the cheapest single model by mean dollars
    random: ReportRow  # what a uniform choice gets on average
    oracle: ReportRow  # the best score of each row, at the least dollars
    singles: list[ReportRow]
    score_gain: Gain  # over random, row by row
    cost_gain_usd: Gain
    shares: dict[str, float]
    recorded_cost_usd: float  # of the router's choices; close to the billed dollars unless calls were retried
    overhead_ms_p50: float
    overhead_ms_p95: float
    curve: Curve

    @classmethod
    def of(cls, outcomes: Outcomes, routed: Sequence[Routed], failed: Sequence[Failed]) -> Report:
        """Judge a replay.

        Args:
            outcomes: the record.
            routed: the answered rows, in the order they were sent; at least one.
            failed: the other rows.
        """
        rows = np.array([answer.row for answer in routed])
        scores, costs_usd = outcomes.scores[rows], outcomes.costs_usd[rows]
        columns = np.array([outcomes.models.index(answer.model) for answer in routed])
        billed = np.array([answer.cost_usd for answer in routed])
        index = np.arange(len(rows))
        chosen = scores[index, columns]
        max_costs_usd = costs_usd.max(axis=1)
        singles = [
            _report_row(model, scores[:, column], costs_usd[:, column], max_costs_usd)
            for column, model in enumerate(outcomes.models)
        ]
        best = max(singles, key=lambda single: (single.mean_score, -single.cost_usd))
        cheapest = min(singles, key=lambda single: (single.cost_usd, -single.mean_score))
        ideal = np.lexsort((costs_usd, -scores), axis=1)[:, 0]
        counts = Counter(answer.model for answer in routed)
        overheads = [answer.overhead_ms for answer in routed]
        return cls(
            n=len(routed) + len(failed),
            n_failed=len(failed),
            errors=[f"row {failure.row}: {failure.error}" for failure in failed[:SHOWN_ERRORS]],
            router=_report_row("router", chosen, billed, max_costs_usd),
            best=best,
            cheapest=cheapest,
            random=_report_row("random", scores.mean(axis=1), costs_usd.mean(axis=1), max_costs_usd),
            oracle=_report_row("oracle", scores[index, ideal], costs_usd[index, ideal], max_costs_usd),
            singles=singles,
            score_gain=Gain.of(chosen - scores.mean(axis=1)),
            cost_gain_usd=Gain.of(costs_usd.mean(axis=1) - billed),
            shares={model: counts[model] / len(routed) for model in outcomes.models},
            recorded_cost_usd=float(costs_usd[index, columns].sum()),
            overhead_ms_p50=float(np.percentile(overheads, 50)),
            overhead_ms_p95=float(np.percentile(overheads, 95)),
            curve=_curve(chosen, billed, scores.mean(axis=1), costs_usd.mean(axis=1)),
        )

    @property
    def beats_random(self) -> bool:
        """Whether both the score and the dollars are better than a uniform choice's."""
        return self.score_gain.mean > 0 and self.cost_gain_usd.mean > 0

    @property
    def verdict(self) -> str:
        score, cost = self.score_gain, self.cost_gain_usd
        cost_error_usd = cost.standard_error * (self.n - self.n_failed)
        return (
            f"better than random on score: {score.verdict} ({self.router.mean_score:.3f} vs "
            f"{self.random.mean_score:.3f} ± {score.standard_error:.3f}), on dollars: {cost.verdict} "
            f"({in_usd(self.router.cost_usd)} vs {in_usd(self.random.cost_usd)} ± "
            f"{in_usd(cost_error_usd)}); failed requests: {self.n_failed}"
        )

    def to_json(self) -> Json:
        return {**asdict(self), "beats_random": self.beats_random, "verdict": self.verdict}

    def per_thousand(self, row: ReportRow) -> float:
        """Dollars per 1,000 answered requests."""
        return row.cost_usd / (self.n - self.n_failed) * 1000

    def to_text(self) -> str:
        """The figures as a table for a terminal."""
        lines = [
            ("the router", self.router),
            (f"always the best: {self.best.name}", self.best),
            (f"always the cheapest: {self.cheapest.name}", self.cheapest),
            ("random, on average", self.random),
            ("oracle: the cheapest of the best", self.oracle),
        ]
        width = max(len(name) for name, _ in lines)
        table = [f"{'':<{width}}  mean score     dollars  per 1,000  utility"]
        for name, row in lines:
            table.append(
                f"{name:<{width}}  {row.mean_score:>10.3f}  {in_usd(row.cost_usd):>10}"
                f"  {in_usd(self.per_thousand(row)):>9}  {row.mean_utility:>7.3f}"
            )
        by_share = sorted(self.shares.items(), key=lambda item: -item[1])
        longest = max(len(model) for model in self.shares)
        bars = [
            f"  {model:<{longest}}  {share:>6.1%}  {'#' * round(share * 40)}" for model, share in by_share
        ]
        errors = [f"  failed: {error}" for error in self.errors]
        return "\n".join(
            [
                f"{self.n} requests, {self.n_failed} failed",
                *errors,
                "",
                *table,
                "",
                "share of each model",
                *bars,
                "",
                f"added latency: p50 {self.overhead_ms_p50:.1f} ms, p95 {self.overhead_ms_p95:.1f} ms",
                f"dollars as recorded for the router's choices: {in_usd(self.recorded_cost_usd)}",
                self.verdict,
            ]
        )


def _report_row(name: str, scores: Floats, costs_usd: Floats, max_costs_usd: Floats) -> ReportRow:
    relative = np.divide(costs_usd, max_costs_usd, out=np.zeros_like(costs_usd), where=max_costs_usd > 0)
    utility = FEEDBACK_WEIGHT * scores + COST_WEIGHT * relative
    return ReportRow(name, float(scores.mean()), float(costs_usd.sum()), float(utility.mean()))


def _curve(scores: Floats, costs_usd: Floats, random_scores: Floats, random_costs_usd: Floats) -> Curve:
    window = max(min(len(scores) // 8, 200), 1)
    first = max(window // 4, 1)
    means = [
        _rolling(values, window, first) for values in (scores, costs_usd, random_scores, random_costs_usd)
    ]
    return Curve(window, first, *means)


def _rolling(values: Floats, window: int, first: int) -> list[float]:
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(first, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    means: list[float] = ((sums[ends] - sums[starts]) / (ends - starts)).tolist()
    return means


def in_usd(value: float) -> str:
    """Format dollars: with cents from one dollar on, with four digits below."""
    return f"${value:.4f}" if value < 1 else f"${value:,.2f}"
