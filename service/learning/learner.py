"""Feedback -> reward -> evidence, then the memory."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import structlog

from service.domain.feedback import (
    ConversationFeedback,
    ConversationLearned,
    Feedback,
    ImplicitSignal,
    Learned,
    Pending,
)
from service.domain.lately import Lately
from service.domain.ports import Evidence, Journal, Memory
from service.errors import MemoryUnavailable, StoreUnavailable, UnknownRequest
from service.grouped import Grouped
from service.learning import rewards
from service.learning.late_contexts import LateContexts

log = structlog.get_logger(__name__)

CONVERSATION_DECISIONS = 50  # newest decisions that share the score of a conversation
MARK_AFTER_S = 0.1
SWEEP_EVERY_S = 2.0
SWEEP_BATCH = 200


@dataclass(slots=True)
class Learner:
    """Turns feedback into evidence and memory.

    The evidence is committed first. The memory is an index of it: while it is unreachable, decisions stay
    queued, and `sweep` updates the memory later.

    Args:
        memory_timeout_s: longest time that a feedback waits for the memory.
        memory_retry_s: after such a timeout, how long all feedback leaves the memory to the sweep.
        late_contexts: the contexts that decisions of this process lack; None: it decides nothing.
        retention_days: age from which on requests are deleted; None: never.
    """

    evidence: Evidence
    memory: Memory
    journal: Journal
    encoder: str
    memory_timeout_s: float = 1.0
    memory_retry_s: float = 2.0
    late_contexts: LateContexts | None = None
    retention_days: int | None = None
    remembering: Lately = field(default_factory=Lately, init=False)
    _memory_retry_at: float = field(default=-math.inf, init=False)  # on the event loop's clock
    _remembering: Grouped[Pending, None] = field(init=False)
    _marking: Grouped[Pending, None] = field(init=False)

    def __post_init__(self) -> None:
        self._remembering = Grouped(self._remember_in_time)
        self._marking = Grouped(self._mark)

    async def learn(self, feedback: Feedback) -> Learned:
        """Learn from one feedback; committed when this returns.

        Raises:
            UnknownRequest: no request has that id.
            StoreUnavailable: PostgreSQL is unreachable, or the decision is not written to it yet;
                nothing was learned, send the feedback again.
        """
        await self._make_contexts(feedback.tenant, [feedback.request_id])
        try:
            learned = await self.evidence.learn(feedback, rewards.reward_of(feedback))
        except UnknownRequest as error:
            if await self.journal.find(feedback.tenant, feedback.request_id) is not None:
                raise StoreUnavailable("the request is not written to PostgreSQL yet") from None
            if self.retention_days is None:
                raise
            raise UnknownRequest(
                f"{error}, or is older than RETENTION_DAYS, {self.retention_days}", param=error.param
            ) from None
        await self._remember(learned.pending)
        return learned

    async def learn_conversation(self, feedback: ConversationFeedback) -> ConversationLearned:
        """Share a conversation's score among its decisions; each is committed when this returns.

        The newest CONVERSATION_DECISIONS with `learn` on get the score with equal weights, 1 in total. A
        request with its own rating keeps that rating. Some decisions may have learned the score before an
        error: the client sends it again, and those do not change.

        Raises:
            UnknownRequest: the conversation has no decision with `learn` on.
            StoreUnavailable: PostgreSQL is unreachable, or some decisions are not written to it yet.
        """
        if self.journal.is_degraded:
            raise StoreUnavailable("some requests are not written to PostgreSQL yet")
        request_ids = await self.evidence.conversation_requests(
            feedback.tenant, feedback.session_id, CONVERSATION_DECISIONS
        )
        if not request_ids:
            raise UnknownRequest(
                f"session_id {feedback.session_id!r} has no requests that feedback can apply to",
                param="session_id",
            )
        await self._make_contexts(feedback.tenant, request_ids)
        weight = rewards.share_of(len(request_ids))
        learned = await asyncio.gather(
            *(self._learn_share(feedback, request_id, weight) for request_id in request_ids)
        )
        return ConversationLearned(feedback.session_id, float(weight), tuple(learned))

    async def _learn_share(
        self, conversation: ConversationFeedback, request_id: str, weight: Decimal
    ) -> Learned:
        share = Feedback(
            conversation.tenant,
            request_id,
            conversation.score,
            conversation.text,
            conversation.received_at,
            conversation.session_id,
            conversation.rater,
        )
        reward = rewards.reward_of(share)
        learned = await self.evidence.learn(share, None if reward is None else replace(reward, weight=weight))
        await self._remember(learned.pending)
        return learned

    async def learn_signals(
        self, tenant: str, decision_id: UUID, signals: Sequence[ImplicitSignal], received_at: datetime
    ) -> list[ImplicitSignal]:
        """Learn from implicit signals on a decision; returns the new ones, which are committed then.

        Raises UnknownRequest, StoreUnavailable.
        """
        if self.late_contexts is not None:
            await self.late_contexts.make([decision_id])
        learned = await self.evidence.learn_signals(tenant, decision_id, signals, received_at)
        await self._remember(learned.pending)
        return list(learned.signals)

    async def _make_contexts(self, tenant: str, request_ids: Sequence[str]) -> None:
        """Make the contexts that rated requests lack, so that they become neighbours of later ones."""
        if self.late_contexts is not None:
            await self.late_contexts.make_for_requests(tenant, request_ids)

    async def settle(self, decision_ids: Collection[UUID]) -> None:
        """Apply the newest events of these decisions to the memory, where they are queued.

        Raises MemoryUnavailable, StoreUnavailable.
        """
        while decision_ids and (waiting := await self.evidence.pending_for(decision_ids)):
            await self._apply(waiting)
            decision_ids = await self.evidence.mark_remembered(waiting)

    async def idle(self) -> None:
        """Wait until the queue has no decision that the memory has taken over."""
        await self._remembering.idle()
        await self._marking.idle()

    async def _remember(self, pending: Pending | None) -> None:
        """Wait until the memory has taken over what was learned, or is left to the sweep."""
        if pending is not None:
            await self._remembering.add(pending)

    async def _remember_in_time(self, learned: Sequence[Pending]) -> Sequence[None]:
        """Update the memory. The feedback is committed, so errors are logged and left to the sweep."""
        now = asyncio.get_running_loop().time
        if now() >= self._memory_retry_at:
            try:
                async with asyncio.timeout(self.memory_timeout_s):
                    applied = await self._applied(learned)
            except (TimeoutError, MemoryUnavailable) as error:
                self.remembering.failed(error)
                self._memory_retry_at = now() + self.memory_retry_s
                log.warning("memory_lags", decisions=len(learned), error=str(error))
            else:
                self.remembering.succeeded()
                for pending in applied:
                    self._marking.add(pending)
        return [None] * len(learned)

    async def _mark(self, applied: Sequence[Pending]) -> Sequence[None]:
        """Take decisions out of the queue. The memory has them, so errors are left to the sweep.

        It waits a moment, so that feedback that comes one at a time shares the transaction too.
        """
        await asyncio.sleep(MARK_AFTER_S)
        try:
            await self.settle(await self.evidence.mark_remembered(applied))
        except (MemoryUnavailable, StoreUnavailable) as error:
            log.debug("memory_lags", decisions=len(applied), error=str(error))
        except Exception:
            log.exception("memory_not_updated", decisions=len(applied))
        return [None] * len(applied)

    async def _applied(self, waiting: Sequence[Pending]) -> Sequence[Pending]:
        """Update the memory; returns what it accepted. A decision that fails fails alone.

        Raises MemoryUnavailable.
        """
        try:
            await self._apply(waiting)
        except MemoryUnavailable:
            raise
        except Exception:
            if len(waiting) > 1:
                return [done for pending in waiting for done in await self._applied([pending])]
            log.exception("memory_not_updated", decision_id=str(waiting[0].decision_id))
            return []
        return waiting

    async def _apply(self, waiting: Sequence[Pending]) -> None:
        """Update the memory of decisions, each at its newest event."""
        newest = {pending.decision_id: pending for pending in sorted(waiting, key=lambda p: p.event_id)}
        forgotten = [pending.decision_id for pending in newest.values() if pending.experience is None]
        if forgotten:
            await self.memory.forget(forgotten)
        experiences = [pending.experience for pending in newest.values() if pending.experience is not None]
        own = [experience for experience in experiences if experience.encoder == self.encoder]
        if own:
            await self.memory.remember(own)

    async def sweep(self) -> int:
        """Apply what the memory missed; returns how many decisions were updated.

        A decision that fails for its own reason stays queued, and is skipped until the next sweep.
        """
        n_applied = 0
        failed: set[UUID] = set()
        while batch := await self._pending_except(failed):
            applied = await self._applied(batch)
            if applied:
                await self.settle(await self.evidence.mark_remembered(applied))
            n_applied += len(applied)
            failed |= {pending.decision_id for pending in batch} - {p.decision_id for p in applied}
        return n_applied

    async def _pending_except(self, failed: set[UUID]) -> list[Pending]:
        batch = await self.evidence.pending(SWEEP_BATCH + len(failed))
        return [pending for pending in batch if pending.decision_id not in failed]

    async def make_contexts_forever(self) -> None:
        """Make the contexts that decisions lack, a few every second, until cancelled."""
        if self.late_contexts is not None:
            await self.late_contexts.make_forever()

    async def sweep_forever(self) -> None:
        """Sweep every few seconds, until cancelled."""
        while True:
            try:
                if n_applied := await self.sweep():
                    log.info("memory_caught_up", decisions=n_applied)
            except (MemoryUnavailable, StoreUnavailable) as error:
                log.debug("memory_lags", error=str(error))
            except Exception:
                log.exception("memory_sweep_failed")
            await asyncio.sleep(SWEEP_EVERY_S)
