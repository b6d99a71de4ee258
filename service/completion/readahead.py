"""A stream that can be read ahead for a while without breaking it off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Self

from service.domain.answer import Chunk


class LookaheadStream:
    """The pieces of a model's stream, in order.

    A wait that is given up would end the generator of the pieces, so a piece that did not come in time
    stays awaited, and is the next.
    """

    def __init__(self, pieces: AsyncGenerator[Chunk, None]) -> None:
        self.has_ended = False
        self._pieces = pieces
        self._coming: asyncio.Task[Chunk | None] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        if (piece := await self._take()) is None:
            raise StopAsyncIteration
        return piece

    async def within(self, seconds: float) -> list[Chunk]:
        """What comes within so many seconds; `has_ended` then tells whether that was all."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        held: list[Chunk] = []
        while not self.has_ended:
            self._coming = self._coming or asyncio.create_task(self._next())
            await asyncio.wait({self._coming}, timeout=max(0.0, until - loop.time()))
            if not self._coming.done():
                break
            if (piece := await self._take()) is not None:
                held.append(piece)
        return held

    async def aclose(self) -> None:
        """Break the stream off."""
        if self._coming is not None:
            self._coming.cancel()
            await asyncio.gather(self._coming, return_exceptions=True)
        await self._pieces.aclose()

    async def _take(self) -> Chunk | None:
        if self._coming is None:
            return await self._next()
        piece = await self._coming
        self._coming = None
        return piece

    async def _next(self) -> Chunk | None:
        piece = await anext(self._pieces, None)
        self.has_ended = piece is None
        return piece
