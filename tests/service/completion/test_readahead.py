from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from service.completion.readahead import LookaheadStream
from service.domain.answer import Chunk
from service.errors import ProviderBroken


class Pieces:
    """A stream of two pieces, the second when it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.goes_on = asyncio.Event()
        self.was_left = False
        self._error = error

    async def __call__(self) -> AsyncGenerator[Chunk, None]:
        try:
            yield Chunk({"n": 1})
            await self.goes_on.wait()
            if self._error is not None:
                raise self._error
            yield Chunk({"n": 2})
        except (asyncio.CancelledError, GeneratorExit):
            self.was_left = True
            raise


def numbers(chunks: list[Chunk]) -> list[int]:
    return [chunk.body["n"] for chunk in chunks]


async def test_what_does_not_come_in_time_is_the_next_piece() -> None:
    pieces = Pieces()
    held = LookaheadStream(pieces())

    early = await held.within(0.01)
    pieces.goes_on.set()
    late = [chunk async for chunk in held]

    assert (numbers(early), numbers(late)) == ([1], [2])
    assert not pieces.was_left


async def test_a_stream_that_ends_in_time_is_all_there() -> None:
    pieces = Pieces()
    pieces.goes_on.set()
    held = LookaheadStream(pieces())

    assert numbers(await held.within(10)) == [1, 2]
    assert held.has_ended
    assert [chunk async for chunk in held] == []


@pytest.mark.parametrize("is_held", [True, False])
async def test_a_failure_reaches_whoever_reads_next(is_held: bool) -> None:
    pieces = Pieces(error=ProviderBroken("gone"))
    held = LookaheadStream(pieces())
    await held.within(0.01)
    pieces.goes_on.set()

    with pytest.raises(ProviderBroken):
        await (held.within(10) if is_held else anext(held))

    await held.aclose()


@pytest.mark.parametrize("seconds", [0.0, 0.01])
async def test_closing_ends_the_wait_for_a_piece(seconds: float) -> None:
    pieces = Pieces()
    held = LookaheadStream(pieces())
    await anext(held)
    await held.within(seconds)

    await held.aclose()

    assert pieces.was_left


async def test_who_stops_waiting_while_it_is_held_can_close_it() -> None:
    pieces = Pieces()
    held = LookaheadStream(pieces())
    waiting = asyncio.create_task(held.within(60))
    await asyncio.wait({waiting}, timeout=0.01)
    waiting.cancel()
    await asyncio.wait({waiting})

    await held.aclose()

    assert pieces.was_left
