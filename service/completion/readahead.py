"""A stream that can be read ahead for a limited time without being cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from service.domain.answer import Burst, Chunk


class LookaheadStream:
    """The chunks of a model's stream, in order.

    Cancelling a wait for chunks would end the generator. So chunks that are late stay awaited in a task, and
    are the next ones.
    """

    def __init__(self, bursts: AsyncGenerator[Burst, None]) -> None:
        self.has_ended = False
        self._bursts = bursts
        self._late: asyncio.Task[Burst] | None = None

    async def next(self) -> Burst:
        """The next chunks; none: the stream ended."""
        if self._late is None:
            return await self._read()
        burst = await self._late
        self._late = None
        return burst

    async def within(self, seconds: float) -> list[Chunk]:
        """The chunks that come within so many seconds; `has_ended` then says whether they are all."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        ahead: list[Chunk] = []
        while not self.has_ended:
            self._late = self._late or asyncio.create_task(self._read())
            await asyncio.wait({self._late}, timeout=max(0.0, until - loop.time()))
            if not self._late.done():
                break
            ahead += await self.next()
        return ahead

    async def aclose(self) -> None:
        """Cancel the stream."""
        if self._late is not None:
            self._late.cancel()
            await asyncio.gather(self._late, return_exceptions=True)
        await self._bursts.aclose()

    async def _read(self) -> Burst:
        try:
            return await anext(self._bursts)
        except StopAsyncIteration:
            self.has_ended = True
            return ()
