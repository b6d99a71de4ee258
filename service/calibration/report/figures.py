"""The figures of one model on a set of prompts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bandit.arrays import Bools, Floats
from service.calibration.report.intervals import Interval, amount_interval, quality_interval
from service.calibration.report.table import AnswerTable


@dataclass(frozen=True, slots=True)
class Figures:
    """Means over the prompts, by their weights, with intervals; None where nothing is known.

    Args:
        n_scored: answers with a score.
        n_unscored: prompts without one.
        n_unpriced: answers whose dollars nobody knows.
        cost_usd: of one answer.
        latency_s: of one answer.
    """

    n_scored: int
    n_unscored: int
    n_unpriced: int
    quality: Interval | None
    cost_usd: Interval | None
    latency_s: Interval | None

    @classmethod
    def of(cls, table: AnswerTable, arm: int, rows: Bools | None = None) -> Figures:
        """The figures of an arm; rows: of the prompts that count; None: all."""
        counts = np.ones(len(table.prompts), dtype=np.bool_) if rows is None else rows
        scores, costs_usd, latencies_s = (
            values[counts, arm] for values in (table.scores, table.costs_usd, table.latencies_s)
        )
        weights = table.weights[counts]
        n_scored, n_answers = int((~np.isnan(scores)).sum()), int((~np.isnan(latencies_s)).sum())
        return cls(
            n_scored=n_scored,
            n_unscored=scores.size - n_scored,
            n_unpriced=n_answers - int((~np.isnan(costs_usd)).sum()),
            quality=quality_interval(*_known(scores, weights)),
            cost_usd=amount_interval(*_known(costs_usd, weights)),
            latency_s=amount_interval(*_known(latencies_s, weights)),
        )


def _known(values: Floats, weights: Floats) -> tuple[Floats, Floats]:
    is_known = ~np.isnan(values)
    return values[is_known], weights[is_known]
