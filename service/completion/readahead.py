"""A stream that can be read ahead for a limited time without being cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Self

from service.domain.answer import Chunk


class LookaheadStream:
    """The chunks of a model's stream, in order.

    Cancelling a wait for a chunk would end the generator. So a chunk that is late stays awaited in a
    task, and is the next one.
    """

    def __init__(self, chunks: AsyncGenerator[Chunk, None]) -> None:
        self.has_ended = False
        self._chunks = chunks
        self._next_chunk: asyncio.Task[Chunk | None] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        if (chunk := await self._take()) is None:
            raise StopAsyncIteration
        return chunk

    async def within(self, seconds: float) -> list[Chunk]:
        """The chunks that come within so many seconds; `has_ended` then says whether they are all."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        ahead: list[Chunk] = []
        while not self.has_ended:
            self._next_chunk = self._next_chunk or asyncio.create_task(self._read())
            await asyncio.wait({self._next_chunk}, timeout=max(0.0, until - loop.time()))
            if not self._next_chunk.done():
                break
            if (chunk := await self._take()) is not None:
                ahead.append(chunk)
        return ahead

    async def aclose(self) -> None:
        """Cancel the stream."""
        if self._next_chunk is not None:
            self._next_chunk.cancel()
            await asyncio.gather(self._next_chunk, return_exceptions=True)
        await self._chunks.aclose()

    async def _take(self) -> Chunk | None:
        if self._next_chunk is None:
            return await self._read()
        chunk = await self._next_chunk
        self._next_chunk = None
        return chunk

    async def _read(self) -> Chunk | None:
        chunk = await anext(self._chunks, None)
        self.has_ended = chunk is None
        return chunk
