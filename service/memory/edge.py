"""The memory in this process: Qdrant's engine on a local folder, without a server."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import structlog

from service.domain.feedback import Experience
from service.domain.neighbours import NeighbourColumns, NeighbourQuery
from service.errors import MemoryUnavailable, StartupError
from service.memory.cap import Cap
from service.memory.points import space_name
from service.memory.shard import DamagedMemory, Shard, is_of_engine

log = structlog.get_logger(__name__)

T = TypeVar("T")


class EdgeMemory:
    """A memory on an engine in this process.

    One thread calls the engine: the event loop never waits for it, and no two calls overlap. `recall` runs
    on the event loop and reads the index: passing it to a thread would take as long as the search.
    """

    def __init__(self, shard: Shard, worker: ThreadPoolExecutor, set_aside: Path | None) -> None:
        self.set_aside = set_aside  # where damaged files of the memory are, which is empty then
        self._shard = shard
        self._worker = worker
        self._is_closed = False

    @classmethod
    async def open(
        cls, directory: Path, *, encoder: str, dimension: int, max_points_per_arm: int
    ) -> EdgeMemory:
        """Load the points of this encoder in `directory`, or start without any.

        Raises StartupError if another process uses the folder, or if it cannot be written.
        """
        cap = Cap(max_points_per_arm)
        worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="memory")
        folder = directory / space_name(encoder, dimension)
        try:
            shard, set_aside = await asyncio.get_running_loop().run_in_executor(
                worker, _opened, folder, lambda: Shard(folder, encoder, dimension, cap)
            )
        except BaseException:
            worker.shutdown(wait=False)
            raise
        return cls(shard, worker, set_aside)

    async def recall(self, query: NeighbourQuery) -> NeighbourColumns:
        self._require_open()
        return self._shard.index.recall(query)

    async def remember(self, experiences: Sequence[Experience]) -> None:
        await self._run(partial(self._shard.remember, experiences))

    async def forget(self, decision_ids: Sequence[UUID]) -> None:
        await self._run(partial(self._shard.forget, decision_ids))

    async def all(self) -> AsyncIterator[Experience]:
        offset: UUID | None = None
        while True:
            page, offset = await self._run(partial(self._shard.page, offset))
            for experience in page:
                yield experience
            if offset is None:
                return

    async def prune(self) -> None:
        await self._run(self._shard.prune)

    async def count(self) -> int:
        return await self._run(self._shard.count)

    async def clear(self) -> None:
        await self._run(self._shard.clear)

    async def ping(self) -> None:
        await self._run(self._shard.count)

    async def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        await self._on_worker(self._shard.close)
        self._worker.shutdown()

    async def _run(self, call: Callable[[], T]) -> T:
        self._require_open()
        return await self._on_worker(call)

    def _require_open(self) -> None:
        if self._is_closed:
            raise MemoryUnavailable("the memory is closed")

    async def _on_worker(self, call: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._worker, call)
        except BaseException as error:
            if not is_of_engine(error):
                raise
            raise MemoryUnavailable(f"the memory failed: {error}") from error


def _opened(folder: Path, open_shard: Callable[[], Shard]) -> tuple[Shard, Path | None]:
    """The memory in the folder; if it is damaged an empty one, and where the damaged one is now."""
    try:
        return open_shard(), None
    except DamagedMemory as error:
        aside = folder.with_name(f"{folder.name}.damaged")
        log.error("memory_damaged", error=str(error), set_aside=str(aside))
    try:
        shutil.rmtree(aside, ignore_errors=True)  # of an earlier time: it may be as large as the memory
        folder.rename(aside)
        return open_shard(), aside
    except (OSError, DamagedMemory) as error:
        raise StartupError(f"the memory in {folder} cannot be used: {error}") from error
