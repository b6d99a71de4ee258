"""How late the event loop is: the wait of everything that is ready to run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

EVERY_S = 0.05
WINDOW_S = 30.0


class LoopLag:
    """Measures, with one timer, how much later than it is due the loop runs it.

    Args:
        observe: called with each lag, in seconds, and with the longest of the last half to whole minute.
    """

    def __init__(self, observe: Callable[[float, float], None], *, every_s: float = EVERY_S) -> None:
        self._observe = observe
        self._every_s = every_s
        self._loop = asyncio.get_running_loop()
        self._longest = self._longest_before = 0.0  # of this window and of the one before
        self._window_ends_at = self._loop.time() + WINDOW_S
        self._timer = self._wait()

    def stop(self) -> None:
        self._timer.cancel()

    def _wait(self) -> asyncio.TimerHandle:
        self._due_at = self._loop.time() + self._every_s
        return self._loop.call_at(self._due_at, self._measure)

    def _measure(self) -> None:
        now = self._loop.time()
        lag_s = max(now - self._due_at, 0.0)
        if now >= self._window_ends_at:
            self._longest_before, self._longest = self._longest, 0.0
            self._window_ends_at = now + WINDOW_S
        self._longest = max(self._longest, lag_s)
        self._observe(lag_s, max(self._longest, self._longest_before))
        self._timer = self._wait()
