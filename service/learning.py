"""Feedback -> reward -> evidence, in one transaction; then the memory."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from service import rewards
from service.errors import MemoryUnavailable, StoreUnavailable, UnknownRequest
from service.ports import Evidence, Journal, Memory
from service.types import Feedback, Learned, Pending

log = structlog.get_logger(__name__)

SWEEP_EVERY_S = 2.0
SWEEP_BATCH = 200


@dataclass(frozen=True, slots=True)
class Learner:
    """Turns feedback into evidence and memory.

    The evidence is committed first. The memory is an index of it: when it is away the decision stays
    queued, and `sweep` brings the memory up to date later.
    """

    evidence: Evidence
    memory: Memory
    journal: Journal
    encoder: str
    memory_timeout_s: float = 1.0

    async def learn(self, feedback: Feedback) -> Learned:
        """Learn from one feedback; committed when this returns.

        Raises:
            UnknownRequest: nobody asked under that request id.
            StoreUnavailable: PostgreSQL is away, or was, and the decision still waits to be written
                there; nothing was learned, send it again.
        """
        try:
            learned = await self.evidence.learn(feedback, rewards.reward_of(feedback))
        except UnknownRequest:
            if await self.journal.find(feedback.tenant, feedback.request_id) is not None:
                raise StoreUnavailable("the request waits to be written to PostgreSQL") from None
            raise
        if learned.event_id is not None:
            await self._remember_in_time(learned)
        return learned

    async def _remember_in_time(self, learned: Learned) -> None:
        try:
            async with asyncio.timeout(self.memory_timeout_s):
                pending = await self.evidence.pending_for(learned.decision_id)
                while pending is not None:
                    pending = await self._apply(pending)
        except (TimeoutError, MemoryUnavailable, StoreUnavailable) as error:
            log.warning("memory_lags", decision_id=str(learned.decision_id), error=str(error))

    async def _apply(self, pending: Pending) -> Pending | None:
        """Bring one memory up to date; returns what came in meanwhile."""
        experience = pending.experience
        if experience is None:
            await self.memory.forget([pending.decision_id])
        elif experience.encoder == self.encoder:
            await self.memory.remember([experience])
        if await self.evidence.remembered(pending):
            return None
        return await self.evidence.pending_for(pending.decision_id)

    async def sweep(self) -> int:
        """Apply what the memory missed; returns how many decisions were brought up to date."""
        done = 0
        while batch := await self.evidence.pending(SWEEP_BATCH):
            for pending in batch:
                await self._apply(pending)
            done += len(batch)
        return done

    async def sweep_forever(self) -> None:
        """Sweep every few seconds, until cancelled."""
        while True:
            try:
                if done := await self.sweep():
                    log.info("memory_caught_up", decisions=done)
            except (MemoryUnavailable, StoreUnavailable) as error:
                log.debug("memory_still_lags", error=str(error))
            await asyncio.sleep(SWEEP_EVERY_S)
