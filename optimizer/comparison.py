"""Compares two prompts on the same held-out rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.calibration.report.intervals import Interval, quality_interval


@dataclass(frozen=True, slots=True)
class Comparison:
    """Mean scores on the rows that both prompts answered, and the mean of the paired differences.

    Args:
        difference: after minus before, with an interval of 95 %.
    """

    n: int
    before: float
    after: float
    difference: Interval

    @property
    def is_better(self) -> bool:
        return self.difference.low > 0


def compared(before: Sequence[float | None], after: Sequence[float | None]) -> Comparison | None:
    """Compare scores of the same rows in the same order; None: no row has both.

    The interval is Wilson's for scores in [0, 1], applied to (1 + d) / 2: it does not close if all
    differences are equal, as that of Student would.
    """
    pairs = [(b, a) for b, a in zip(before, after, strict=True) if b is not None and a is not None]
    if not pairs:
        return None
    scores = np.array(pairs, dtype=np.float64)
    halves = (1.0 + scores[:, 1] - scores[:, 0]) / 2.0
    interval = quality_interval(halves, np.ones(len(pairs)))
    assert interval is not None
    difference = Interval(*(2.0 * end - 1.0 for end in (interval.value, interval.low, interval.high)))
    return Comparison(len(pairs), float(scores[:, 0].mean()), float(scores[:, 1].mean()), difference)
