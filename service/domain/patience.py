"""How long a task waits for something, kept by one timer however many waits there are."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from types import TracebackType


class Patience:
    """A limit on the waiting of a task: on all its waits together since the patience was renewed.

    A time-out around each wait would set and cancel a timer for each piece of a stream. This timer stays as
    it is while waits begin and end: when it fires, it looks how long the waiting has lasted, and is set for
    the rest. Enter the patience for each wait, and `end` it after the last one.

    Args:
        limit_s: None, or infinite: there is no limit.
        late: makes the error that ends a wait at the limit.
    """

    def __init__(self, limit_s: float | None, late: Callable[[], Exception]) -> None:
        self._limit_s = None if limit_s == math.inf else limit_s
        self._late = late
        self._waited_s = 0.0  # before the present wait
        self._since: float | None = None  # when the present wait began; None: nobody waits
        self._is_over = False  # the limit ended the present wait
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None  # that waits
        self._n_cancelled = 0  # how often somebody else had cancelled it when the wait began

    def renew(self) -> None:
        """Begin anew: what was waited for has come."""
        self._waited_s = 0.0

    def end(self) -> None:
        """Nothing is waited for any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __enter__(self) -> None:
        if self._limit_s is None:
            return
        loop = asyncio.get_running_loop()
        self._task = task = asyncio.current_task(loop)
        assert task is not None, "only a task can be patient"
        self._n_cancelled = task.cancelling()
        self._since = now = loop.time()
        if self._timer is None:
            self._timer = loop.call_at(now + self._limit_s - self._waited_s, self._look, loop)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._since is None or self._task is None:
            return
        self._waited_s += asyncio.get_running_loop().time() - self._since
        self._since = None
        if self._is_over:
            self._is_over = False
            if self._task.uncancel() <= self._n_cancelled and kind is asyncio.CancelledError:
                raise self._late() from None

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Interrupt a wait that has lasted too long; the next wait sets the timer again if there is none."""
        self._timer = None
        if self._since is None or self._limit_s is None or self._task is None:
            return
        until = self._since + self._limit_s - self._waited_s
        if loop.time() < until:
            self._timer = loop.call_at(until, self._look, loop)
        else:
            self._is_over = True
            self._task.cancel()
