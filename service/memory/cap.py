"""The cap on points per arm and tenant, and when to check it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from service.memory.points import TenantArm


class Cap:
    """Counts writes, so that most writes need no check of the cap.

    An arm is due for a check at its first write by this process, and after writes of a tenth of the cap.

    Args:
        max_points: maximum number of points of an arm of a tenant, at least 1.
    """

    def __init__(self, max_points: int) -> None:
        if max_points < 1:
            raise ValueError(f"max_points must be at least 1, got {max_points}")
        self.max_points = max_points
        self._slack = max(1, max_points // 10)
        self._written: dict[TenantArm, int] = {}

    def due(self, written: Iterable[TenantArm]) -> list[TenantArm]:
        """Count one write for each of `written`; returns the arms to check now."""
        return [arm for arm, n_points in Counter(written).items() if self._is_due(arm, n_points)]

    def _is_due(self, arm: TenantArm, n_points: int) -> bool:
        n_written = self._written.get(arm, self._slack) + n_points
        is_due = n_written >= self._slack
        self._written[arm] = 0 if is_due else n_written
        return is_due
