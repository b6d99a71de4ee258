"""Forget requests in PostgreSQL and in the memory, also beside a running service."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from embeddings.encoder import EncoderError
from service.bootstrap.basics import no_progress
from service.bootstrap.existing import open_existing_database
from service.bootstrap.memory import open_memory
from service.bootstrap.vectors import open_encoders
from service.domain.forgotten import Forgotten, Selection
from service.errors import MemoryUnavailable, StartupError
from service.learning.forgetting import Forgetting
from service.settings.settings import Settings
from service.store.connection.pool import Database
from service.store.forgetting.forget import PostgresForgetting
from service.store.log.forgotten import PostgresForgottenDecisions

SERVICE_WAIT_S = 10.0  # a running service removes what the memory has within seconds


@dataclass(frozen=True, slots=True)
class ForgetReport:
    """What was deleted, or would be.

    Args:
        is_memory_clean: whether the memory has none of the decisions; None: nothing was deleted.
    """

    forgotten: Forgotten
    is_memory_clean: bool | None = None

    @property
    def is_whole(self) -> bool:
        return self.is_memory_clean is not False and not self.forgotten.n_unanswered

    def text(self) -> str:
        counts = self.forgotten.counts
        lines = [f"{n} rows of {table}" for table, n in sorted(counts.items())] or ["nothing was selected"]
        if self.forgotten.n_unanswered:
            lines.append(
                f"{self.forgotten.n_unanswered} requests are still being answered and stay: "
                "run the command again later"
            )
        if self.is_memory_clean is False:
            lines.append(
                "the memory still has some of it: it follows when the service runs, or when Qdrant is back"
            )
        return "\n".join(lines)


async def count(settings: Settings, selection: Selection) -> ForgetReport:
    """Count what `forget` would delete. Raises StartupError, StoreUnavailable."""
    async with AsyncExitStack() as stack:
        database = await open_existing_database(settings, stack)
        return ForgetReport(await PostgresForgetting(database).count(selection))


async def forget(settings: Settings, environ: Mapping[str, str], selection: Selection) -> ForgetReport:
    """Delete the selected requests. Raises StartupError, StoreUnavailable."""
    async with AsyncExitStack() as stack:
        database = await open_existing_database(settings, stack)
        forgotten = await PostgresForgetting(database).forget(selection, datetime.now(UTC))
        decisions = PostgresForgottenDecisions(database)
        if forgotten.counts.get("decisions"):
            with suppress(StartupError, EncoderError, MemoryUnavailable):
                await _remove_from_memory(settings, environ, database, decisions, stack)
        return ForgetReport(forgotten, await _is_memory_clean(decisions))


async def _remove_from_memory(
    settings: Settings,
    environ: Mapping[str, str],
    database: Database,
    decisions: PostgresForgottenDecisions,
    stack: AsyncExitStack,
) -> None:
    """Remove them from the memory; an embedded one belongs to the service, if that runs."""
    encoder = (await open_encoders(settings, environ, stack, no_progress)).decisions
    memory = await open_memory(settings, environ, settings.data_dir, encoder, database, stack)
    await Forgetting(decisions, memory).sweep()


async def _is_memory_clean(decisions: PostgresForgottenDecisions) -> bool:
    """Whether the memory has removed all of it, waiting for a service that does it."""
    for _ in range(int(SERVICE_WAIT_S)):
        if not (await decisions.tombstones(1)).decision_ids:
            return True
        await asyncio.sleep(1.0)
    return False
