"""Counts what a piece of work makes of an event loop, of PostgreSQL and of the heap.

Counts say the same on every machine and under every load, which no time does: a test that limits them fails
when a change adds a round trip, and never because the machine is busy.

    async with counting(wire) as counts:
        await work()
    assert counts.round_trips <= 2
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tracemalloc
from asyncio import timeouts
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, fields
from types import FrameType
from typing import Any, TypeVar

from tests.postgres_wire import PostgresWire

T = TypeVar("T")


@dataclass(slots=True)
class Counts:
    """What was counted; divide by the number of requests for a mean."""

    tasks: float = 0
    timers: float = 0  # call_later and call_at, those of time-outs included
    timeouts: float = 0  # asyncio.timeout and wait_for
    round_trips: float = 0  # to PostgreSQL
    sent_bytes: float = 0  # to PostgreSQL
    commits: float = 0  # transactions that wrote
    wal_bytes: float = 0  # of PostgreSQL's log

    def per(self, n: int) -> Counts:
        return Counts(**{name: value / n for name, value in asdict(self).items()})

    def above(self, limits: Counts) -> dict[str, str]:
        """What exceeds its limit."""
        return {
            field.name: f"{value:.1f} > {limit:g}"
            for field in fields(self)
            if (value := getattr(self, field.name)) > (limit := getattr(limits, field.name))
        }


@asynccontextmanager
async def counting(wire: PostgresWire | None = None) -> AsyncIterator[Counts]:
    """Count on the running loop while the block runs.

    Args:
        wire: to PostgreSQL; None: nothing of PostgreSQL is counted.
    """
    counts = Counts()
    written = None
    if wire is not None:
        await wire.silence_vacuum()
        written = await wire.written()
        wire.reset()
    with _tasks(counts), _timers(counts), _timeouts(counts):
        yield counts
    if wire is not None and written is not None:
        counts.round_trips, counts.sent_bytes = wire.n_round_trips, wire.n_bytes
        now = await wire.written()
        counts.commits, counts.wal_bytes = now[0] - written[0], now[1] - written[1]


@contextmanager
def peak_bytes() -> Iterator[list[int]]:
    """The most memory that the block held beyond what there was before; the list gets it at the end."""
    found: list[int] = []
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        yield found
        found.append(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()


@contextmanager
def python_calls() -> Iterator[list[int]]:
    """How often the block's thread called a function of Python or went on with a coroutine.

    It stands for CPU: most of a request's is spread over calls of no great cost. The list gets it at the end.
    """
    found: list[int] = []
    n_calls = 0

    def count(_: FrameType, event: str, __: object) -> None:
        nonlocal n_calls
        n_calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield found
    finally:
        sys.setprofile(before)
    found.append(n_calls)


@contextmanager
def _tasks(counts: Counts) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()

    def make(
        loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T], **options: Any
    ) -> asyncio.Task[T]:
        counts.tasks += 1
        return asyncio.Task(work, loop=loop, **options)

    loop.set_task_factory(make)  # type: ignore[arg-type]  # the stubs want a Protocol of their own
    try:
        yield
    finally:
        loop.set_task_factory(before)


@contextmanager
def _timers(counts: Counts) -> Iterator[None]:
    """asyncio's own loop makes every timer by `call_at`."""
    loop: Any = asyncio.get_running_loop()
    original = loop.call_at

    def call_at(*arguments: Any, **options: Any) -> asyncio.TimerHandle:
        counts.timers += 1
        handle: asyncio.TimerHandle = original(*arguments, **options)
        return handle

    loop.call_at = call_at
    try:
        yield
    finally:
        del loop.call_at


@contextmanager
def _timeouts(counts: Counts) -> Iterator[None]:
    timeout: Any = timeouts.Timeout
    original = timeout.__aenter__

    async def enter(self: Any) -> Any:
        counts.timeouts += 1
        return await original(self)

    timeout.__aenter__ = enter
    try:
        yield
    finally:
        timeout.__aenter__ = original
