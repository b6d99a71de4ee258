"""Fills a memory again that had to begin empty."""

from __future__ import annotations

import asyncio

import structlog

from service.errors import StoreUnavailable
from service.store.connection.pool import Database
from service.store.evidence.rebuild import enqueue, experiences

log = structlog.get_logger(__name__)

BATCH = 500
RETRY_S = 5.0


async def refill(database: Database, encoder: str) -> None:
    """Queue every rated decision for the memory; the learner's sweep takes them from there."""
    while True:
        try:
            decision_ids = [each.decision_id async for each in experiences(database, encoder)]
            for start in range(0, len(decision_ids), BATCH):
                await enqueue(database, decision_ids[start : start + BATCH], encoder)
        except StoreUnavailable:
            await asyncio.sleep(RETRY_S)
        else:
            log.info("memory_refilled", decisions=len(decision_ids))
            return
