"""A memory whose place is not known yet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from uuid import UUID

from service.domain.feedback import Experience
from service.domain.neighbours import NeighbourColumns, NeighbourQuery
from service.domain.ports import Memory
from service.errors import MemoryUnavailable, StartupError, StoreUnavailable


class DeferredMemory:
    """Opens the memory once PostgreSQL answers: its place is named after the database.

    Args:
        open_memory: raises StoreUnavailable, or StartupError.
    """

    def __init__(self, open_memory: Callable[[], Awaitable[Memory]]) -> None:
        self._open_memory = open_memory
        self._opening: asyncio.Task[Memory] | None = None
        self._is_closed = False

    async def recall(self, query: NeighbourQuery) -> NeighbourColumns:
        return await (await self._opened()).recall(query)

    async def remember(self, experiences: Sequence[Experience]) -> None:
        await (await self._opened()).remember(experiences)

    async def forget(self, decision_ids: Sequence[UUID]) -> None:
        await (await self._opened()).forget(decision_ids)

    async def all(self) -> AsyncIterator[Experience]:
        async for experience in (await self._opened()).all():
            yield experience

    async def prune(self) -> None:
        await (await self._opened()).prune()

    async def count(self) -> int:
        return await (await self._opened()).count()

    async def clear(self) -> None:
        await (await self._opened()).clear()

    async def ping(self) -> None:
        await (await self._opened()).ping()

    async def close(self) -> None:
        self._is_closed = True
        if self._opening is not None:
            with suppress(StoreUnavailable, StartupError):
                await (await self._opening).close()

    async def _opened(self) -> Memory:
        """The memory. A call that has no time to wait does not stop the opening."""
        if self._is_closed:
            raise MemoryUnavailable("the memory is closed")
        if self._opening is None or self._has_failed(self._opening):
            self._opening = asyncio.create_task(self._open())
        try:
            return await asyncio.shield(self._opening)
        except (StoreUnavailable, StartupError) as error:
            raise MemoryUnavailable(f"the memory is not open yet: {error}") from error

    async def _open(self) -> Memory:
        return await self._open_memory()

    @staticmethod
    def _has_failed(opening: asyncio.Task[Memory]) -> bool:
        return opening.done() and opening.exception() is not None
