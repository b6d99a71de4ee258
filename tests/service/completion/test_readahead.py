from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from service.completion.readahead import LookaheadStream
from service.domain.answer import Burst, Chunk
from service.errors import ProviderBroken


class TwoChunks:
    """A stream of two chunks; the second waits for `goes_on`."""

    def __init__(self, error: Exception | None = None) -> None:
        self.goes_on = asyncio.Event()
        self.was_cancelled = False
        self._error = error

    async def __call__(self) -> AsyncGenerator[Burst, None]:
        try:
            yield [Chunk({"n": 1})]
            await self.goes_on.wait()
            if self._error is not None:
                raise self._error
            yield [Chunk({"n": 2})]
        except (asyncio.CancelledError, GeneratorExit):
            self.was_cancelled = True
            raise


def numbers(chunks: Burst) -> list[int]:
    return [chunk.body["n"] for chunk in chunks]


async def test_a_chunk_that_is_late_is_the_next_one() -> None:
    chunks = TwoChunks()
    stream = LookaheadStream(chunks())

    early = await stream.within(0.01)
    chunks.goes_on.set()
    late = await stream.next()

    assert (numbers(early), numbers(late)) == ([1], [2])
    assert not chunks.was_cancelled


async def test_a_stream_that_ends_in_time_is_complete() -> None:
    chunks = TwoChunks()
    chunks.goes_on.set()
    stream = LookaheadStream(chunks())

    assert numbers(await stream.within(10)) == [1, 2]
    assert stream.has_ended
    assert numbers(await stream.next()) == []


@pytest.mark.parametrize("is_lookahead", [True, False])
async def test_a_failure_reaches_the_next_reader(is_lookahead: bool) -> None:
    chunks = TwoChunks(error=ProviderBroken("gone"))
    stream = LookaheadStream(chunks())
    await stream.within(0.01)
    chunks.goes_on.set()

    with pytest.raises(ProviderBroken):
        await (stream.within(10) if is_lookahead else stream.next())

    await stream.aclose()


@pytest.mark.parametrize("seconds", [0.0, 0.01])
async def test_closing_ends_the_wait_for_a_chunk(seconds: float) -> None:
    chunks = TwoChunks()
    stream = LookaheadStream(chunks())
    await stream.next()
    await stream.within(seconds)

    await stream.aclose()

    assert chunks.was_cancelled


async def test_a_stream_can_be_closed_after_a_cancelled_lookahead() -> None:
    chunks = TwoChunks()
    stream = LookaheadStream(chunks())
    waiting = asyncio.create_task(stream.within(60))
    await asyncio.wait({waiting}, timeout=0.01)
    waiting.cancel()
    await asyncio.wait({waiting})

    await stream.aclose()

    assert chunks.was_cancelled
