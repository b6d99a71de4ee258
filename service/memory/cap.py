"""The cap on points per arm and tenant, and when it is worth looking whether it is exceeded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from service.memory.points import TenantArm


class Cap:
    """Keeps count of writes, so that most of them cost no look at the index.

    An arm is due when first written to by this process, and after every tenth of the cap.

    Args:
        max_points: points an arm of a tenant may keep, at least 1.
    """

    def __init__(self, max_points: int) -> None:
        if max_points < 1:
            raise ValueError(f"max_points must be at least 1, got {max_points}")
        self.max_points = max_points
        self._slack = max(1, max_points // 10)
        self._written: dict[TenantArm, int] = {}

    def due(self, written: Iterable[TenantArm]) -> list[TenantArm]:
        """Count one write for each of `written`; returns the arms to look at now."""
        return [arm for arm, n_points in Counter(written).items() if self._is_due(arm, n_points)]

    def _is_due(self, arm: TenantArm, n_points: int) -> bool:
        n_written = self._written.get(arm, self._slack) + n_points
        is_due = n_written >= self._slack
        self._written[arm] = 0 if is_due else n_written
        return is_due
