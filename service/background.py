"""Tasks that run in the background and must end before the process does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import structlog

log = structlog.get_logger(__name__)

T = TypeVar("T")


class Background:
    """Keeps a reference to each task until it is done, and logs its errors."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def do(self, work: Callable[[], Coroutine[Any, Any, None] | None]) -> None:
        """Do the work now, and what it returns in a task; errors of both are logged and go no further."""
        try:
            rest = work()
        except Exception:
            log.exception("background_failed")
            return
        if rest is not None:
            self.spawn(rest)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background_failed", exc_info=error)

    async def drain(self, timeout_s: float) -> None:
        """Wait for the running tasks; cancel those that are not done in time."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=timeout_s)
            for task in late:
                task.cancel()
