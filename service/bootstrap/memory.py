"""Opens the memory of one database, and fills it if it lacks points."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID

import structlog

from embeddings.encoder import TextEncoder
from service.bootstrap.basics import proxy_for
from service.domain.ports import Memory
from service.errors import MemoryUnavailable, StoreUnavailable
from service.memory.deferred import DeferredMemory
from service.memory.edge import EdgeMemory
from service.settings.settings import Settings
from service.store.connection.identity import database_identity
from service.store.connection.pool import Database
from service.store.evidence.rebuild import count_due, enqueue_newest

log = structlog.get_logger(__name__)

RETRY_S = 2.0


async def open_memory(
    settings: Settings,
    environ: Mapping[str, str],
    data_dir: Path,
    encoder: TextEncoder,
    database: Database,
    stack: AsyncExitStack,
) -> Memory:
    """The memory of this database, which it shares with no other database.

    Raises:
        StartupError: it cannot be opened, or another process uses it.
    """

    async def opened() -> Memory:
        identity = await database_identity(database)
        return await _memory_of(identity, settings, environ, data_dir, encoder)

    memory: Memory
    try:
        memory = await opened()
    except StoreUnavailable as error:
        log.warning("memory_not_open", error=str(error))
        memory = DeferredMemory(opened)
    stack.push_async_callback(memory.close)
    return memory


async def _memory_of(
    identity: UUID, settings: Settings, environ: Mapping[str, str], data_dir: Path, encoder: TextEncoder
) -> Memory:
    if settings.qdrant_url is None:
        return await EdgeMemory.open(
            data_dir / "memory" / identity.hex,
            encoder=encoder.name,
            dimension=encoder.dimension,
            max_points_per_arm=settings.memory_points_per_arm,
        )
    from service.memory.qdrant import QdrantMemory  # half of the import time is that of its client

    key = settings.qdrant_api_key
    return await QdrantMemory.connect(
        settings.qdrant_url,
        api_key=key.get_secret_value() if key else None,
        name=f"{settings.qdrant_collection_prefix}_{identity.hex}",
        encoder=encoder.name,
        dimension=encoder.dimension,
        max_points_per_arm=settings.memory_points_per_arm,
        timeout_s=settings.memory_timeout_s,
        proxy=proxy_for(settings.qdrant_url, environ),
    )


async def fill_memory(database: Database, memory: Memory, encoder: str, points_per_arm: int) -> None:
    """Queue the newest rated decisions for a memory that lacks some, once, as soon as both stores answer.

    It lacks them after an upgrade from a version whose memories had other names, and after a restore; also if
    feedback was faster, or a process of such a version took entries out of the queue.
    """
    while True:
        try:
            n_due = await count_due(database, encoder, points_per_arm)
            # Counted later: what leaves the queue in between is there.
            if (n_points := await memory.count()) < n_due:
                n_queued = await enqueue_newest(database, encoder, points_per_arm)
                log.info("memory_lacks_points", points=n_points, due=n_due, queued=n_queued)
            return
        except (MemoryUnavailable, StoreUnavailable) as error:
            log.debug("memory_lags", error=str(error))
        await asyncio.sleep(RETRY_S)
