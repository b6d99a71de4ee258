"""Calls each callback in a thread of its own, from a bounded queue: a slow or failing one delays nobody."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Sequence
from queue import Empty, Full, Queue
from typing import Literal

import structlog

from service.callbacks.functions import NamedFunction
from service.callbacks.report import RequestReport, report_of
from service.completion.request_run import RequestRun
from service.domain.answer import Outcome

log = structlog.get_logger(__name__)

CallbackResult = Literal["ok", "failed", "dropped"]
MAX_WAITING = 1_000  # reports of one callback
TIMEOUT_S = 10.0  # of one call of an async callback
CLOSE_S = 2.0  # longest time that a shutdown waits for the reports that are left


class Callbacks:
    """All callbacks. Nothing is started before the first report.

    Args:
        observe: called with the callback's name and the result of each of its calls, from any thread.
    """

    def __init__(
        self,
        functions: Sequence[NamedFunction],
        observe: Callable[[str, CallbackResult], None],
        *,
        max_waiting: int = MAX_WAITING,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._workers = [_Worker(function, observe, max_waiting, timeout_s) for function in functions]

    def completed(self, run: RequestRun, outcome: Outcome) -> None:
        """Report a request to all callbacks; never waits."""
        if not self._workers:
            return
        report = report_of(run, outcome)
        for worker in self._workers:
            worker.offer(report)

    async def close(self, within_s: float = CLOSE_S) -> None:
        """Call the callbacks with the reports that are left, for a limited time; the others are dropped."""
        await asyncio.gather(*(asyncio.to_thread(worker.close, within_s) for worker in self._workers))


class _Worker:
    """One callback, its queue and its thread, in which an event loop runs async callbacks."""

    def __init__(
        self,
        function: NamedFunction,
        observe: Callable[[str, CallbackResult], None],
        max_waiting: int,
        timeout_s: float,
    ) -> None:
        self._function, self._observe, self._timeout_s = function, observe, timeout_s
        self._queue: Queue[RequestReport | None] = Queue(max_waiting)  # None: the end
        self._thread: threading.Thread | None = None
        self._is_stopped = threading.Event()
        self._is_dropping = False

    def offer(self, report: RequestReport) -> None:
        """Queue a report; it is dropped if the queue is full."""
        if self._thread is None:
            # A daemon: a callback that never returns does not keep the process.
            self._thread = threading.Thread(
                target=self._work, name=f"callback {self._function.name}", daemon=True
            )
            self._thread.start()
        try:
            self._queue.put_nowait(report)
            self._is_dropping = False
        except Full:
            self._observe(self._function.name, "dropped")
            if not self._is_dropping:  # one line for reports dropped in a row
                log.warning("callback_dropped", callback=self._function.name, waiting=self._queue.qsize())
            self._is_dropping = True

    def close(self, within_s: float) -> None:
        """Wait for the reports that are left, and drop those that are left then."""
        if self._thread is None:
            return
        try:
            self._queue.put(None, timeout=within_s)
            self._thread.join(within_s)
        except Full:
            pass
        self._is_stopped.set()
        n_left = self._drop_all()
        if n_left:
            log.warning("callback_dropped", callback=self._function.name, at_shutdown=n_left)

    def _drop_all(self) -> int:
        n = 0
        while True:
            try:
                n += self._queue.get_nowait() is not None
            except Empty:
                return n

    def _work(self) -> None:
        with asyncio.Runner() as runner:
            while (report := self._queue.get()) is not None and not self._is_stopped.is_set():
                self._call(runner, report)

    def _call(self, runner: asyncio.Runner, report: RequestReport) -> None:
        try:
            returned = self._function.call(report)
            if inspect.isawaitable(returned):
                runner.run(_within(returned, self._timeout_s))
        except (Exception, SystemExit) as error:
            self._observe(self._function.name, "failed")
            log.warning(
                "callback_failed",
                callback=self._function.name,
                request_id=report.request_id,
                error=f"{type(error).__name__}: {error}",
            )
        else:
            self._observe(self._function.name, "ok")


async def _within(awaitable: Awaitable[object], timeout_s: float) -> None:
    async with asyncio.timeout(timeout_s):
        await awaitable
