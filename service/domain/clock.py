"""The time of this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

_SLOWER = 0.1  # of each second, while the clock waits for one that is behind it


class SteadyClock:
    """UTC that never goes back, whatever happens to the machine's clock.

    It passes as the monotonic clock does, so that durations are durations. It is set to PostgreSQL's time, so
    that replicas agree on it: the first time at once, and later too if it is behind. If it is ahead, it
    runs a tenth slower until both are equal.

    Args:
        wall: the machine's clock, seconds since 1970.
        steady: a clock that nobody sets, seconds.
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._offset = wall() - steady()  # of the time that this clock is to have
        self._ahead_s = 0.0  # by how much it was ahead of that at `_set_at`
        self._set_at = steady()
        self._is_set = False

    def __call__(self) -> datetime:
        return datetime.fromtimestamp(self._at(self._steady()), UTC)

    def set_to(self, timestamp: float) -> None:
        """Follow another clock, which shows this time now, seconds since 1970."""
        steady = self._steady()
        ahead_s = self._at(steady) - timestamp
        self._offset, self._set_at = timestamp - steady, steady
        self._ahead_s = max(0.0, ahead_s) if self._is_set else 0.0
        self._is_set = True

    @property
    def skew_s(self) -> float | None:
        """How far the machine's clock is ahead of the clock that is followed; None: none is followed yet."""
        return self._wall() - self._steady() - self._offset if self._is_set else None

    def _at(self, steady: float) -> float:
        if not self._ahead_s:
            return steady + self._offset
        return steady + self._offset + max(0.0, self._ahead_s - _SLOWER * (steady - self._set_at))


now = SteadyClock()  # one for the process: durations begin in one part and end in another
