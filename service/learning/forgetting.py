"""Deletes what this process, and the memory, still have of requests that were forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from service.domain.forgotten import ForgottenDecisions
from service.domain.ports import Memory
from service.errors import MemoryUnavailable, StoreUnavailable

log = structlog.get_logger(__name__)

SWEEP_EVERY_S = 2.0
SWEEP_BATCH = 500


@dataclass(slots=True)
class Forgetting:
    """Follows the deletions of requests, by whichever process.

    The memory has no transaction with PostgreSQL. Another replica may have read a decision before it was
    deleted, and write it to the memory afterwards: so the memory removes each decision twice, a minute apart.

    Args:
        drop_copies: called after a deletion; each deletes what a part of this process may have kept.
        drop_texts: called with the decisions to remove.
        drop_lines: deletes lines of files; repeated until it succeeds.
    """

    decisions: ForgottenDecisions
    memory: Memory
    drop_copies: Sequence[Callable[[], object]] = ()
    drop_texts: Callable[[Sequence[UUID]], None] = lambda _: None
    drop_lines: Callable[[], Awaitable[None]] | None = None
    _revision: tuple[object, ...] | None = field(default=None, init=False)

    async def sweep(self) -> int:
        """Delete what was forgotten since the last time; returns how many decisions the memory removed.

        Raises StoreUnavailable, MemoryUnavailable.
        """
        n_removed = 0
        while True:
            found = await self.decisions.tombstones(SWEEP_BATCH)
            if found.revision != self._revision:
                for drop in self.drop_copies:
                    drop()
                if self.drop_lines is not None:
                    await self.drop_lines()
                await self.decisions.prune()
                self._revision = found.revision
            if not found.decision_ids:
                return n_removed
            self.drop_texts(found.decision_ids)
            await self.memory.forget(found.decision_ids)
            await self.decisions.mark_removed(found.decision_ids)
            n_removed += len(found.decision_ids)

    async def sweep_forever(self) -> None:
        """Sweep every few seconds, until cancelled."""
        while True:
            try:
                if n_removed := await self.sweep():
                    log.info("memory_forgot", decisions=n_removed)
            except (MemoryUnavailable, StoreUnavailable) as error:
                log.debug("memory_lags", error=str(error))
            except Exception:
                log.exception("requests_not_forgotten")
            await asyncio.sleep(SWEEP_EVERY_S)
