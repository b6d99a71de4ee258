from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

import pytest

from service.api.joined_events import next_or_flush


async def collected(source: AsyncGenerator[str, None], flush: Callable[[], None] = lambda: None) -> list[str]:
    """The events of a source; those that were waited for begin with `-`."""
    events: list[str] = []

    async def flushed() -> None:
        flush()
        events.append("-")

    while True:
        try:
            events.append(await next_or_flush(anext(source), flushed))  # type: ignore[arg-type]
        except StopAsyncIteration:
            return events


async def test_what_comes_together_is_flushed_together() -> None:
    async def source() -> AsyncGenerator[str, None]:
        yield "a"
        yield "b"
        await asyncio.sleep(0)
        yield "c"

    assert await collected(source()) == ["a", "b", "-", "c"]


async def test_a_wait_is_flushed_once_however_often_it_is_interrupted() -> None:
    async def source() -> AsyncGenerator[str, None]:
        for _ in range(3):
            await asyncio.sleep(0)
        yield "a"

    assert await collected(source()) == ["-", "a"]


async def test_a_cancelled_wait_ends_the_source() -> None:
    is_over = asyncio.Event()

    async def source() -> AsyncGenerator[str, None]:
        try:
            await asyncio.Event().wait()
            yield "a"
        finally:
            await asyncio.sleep(0)
            is_over.set()

    reading = asyncio.create_task(collected(source()))
    await asyncio.sleep(0)
    reading.cancel()

    with pytest.raises(asyncio.CancelledError):
        await reading
    assert is_over.is_set()


async def test_a_failed_flush_ends_the_source_and_is_raised() -> None:
    is_over = asyncio.Event()

    async def source() -> AsyncGenerator[str, None]:
        try:
            await asyncio.Event().wait()
            yield "a"
        finally:
            is_over.set()

    def fail() -> None:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await collected(source(), fail)
    assert is_over.is_set()
