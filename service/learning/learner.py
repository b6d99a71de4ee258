"""Feedback -> reward -> evidence in one transaction, then the memory."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
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
from service.domain.ports import Evidence, Journal, Memory
from service.errors import MemoryUnavailable, StoreUnavailable, UnknownRequest
from service.learning import rewards
from service.learning.late_contexts import LateContexts

log = structlog.get_logger(__name__)

CONVERSATION_DECISIONS = 50  # newest decisions that share the score of a conversation
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
    """

    evidence: Evidence
    memory: Memory
    journal: Journal
    encoder: str
    memory_timeout_s: float = 1.0
    memory_retry_s: float = 2.0
    late_contexts: LateContexts | None = None
    _memory_retry_at: float = field(default=-math.inf, init=False)  # on the event loop's clock

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
        except UnknownRequest:
            if await self.journal.find(feedback.tenant, feedback.request_id) is not None:
                raise StoreUnavailable("the request is not written to PostgreSQL yet") from None
            raise
        if learned.event_id is not None:
            await self._remember_in_time(learned.decision_id)
        return learned

    async def learn_conversation(self, feedback: ConversationFeedback) -> ConversationLearned:
        """Share a conversation's score among its decisions; each is committed when this returns.

        The newest CONVERSATION_DECISIONS with `learn` on get the score with equal weights, 1 in total. A
        request with its own rating keeps that rating. Each decision has its own transaction: after an error
        the client sends the score again, and the decisions that have learned it do not change.

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
        learned = [await self._learn_share(feedback, request_id, weight) for request_id in request_ids]
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
        )
        reward = rewards.reward_of(share)
        learned = await self.evidence.learn(share, None if reward is None else replace(reward, weight=weight))
        if learned.event_id is not None:
            await self._remember_in_time(learned.decision_id)
        return learned

    async def learn_signals(
        self, tenant: str, decision_id: UUID, signals: Sequence[ImplicitSignal], received_at: datetime
    ) -> list[ImplicitSignal]:
        """Learn from implicit signals on a decision; returns the new ones, which are committed then.

        Raises UnknownRequest, StoreUnavailable.
        """
        if self.late_contexts is not None:
            await self.late_contexts.make([decision_id])
        new = await self.evidence.learn_signals(tenant, decision_id, signals, received_at)
        if new:
            await self._remember_in_time(decision_id)
        return new

    async def _make_contexts(self, tenant: str, request_ids: Sequence[str]) -> None:
        """Make the contexts that rated requests lack, so that they become neighbours of later ones."""
        if self.late_contexts is not None:
            await self.late_contexts.make_for_requests(tenant, request_ids)

    async def settle(self, decision_id: UUID) -> None:
        """Apply the newest event of one decision to the memory, if it is queued.

        Raises MemoryUnavailable, StoreUnavailable.
        """
        pending = await self.evidence.pending_for(decision_id)
        while pending is not None:
            pending = await self._apply(pending)

    async def _remember_in_time(self, decision_id: UUID) -> None:
        """Update the memory. The feedback is committed, so errors are logged and left to the sweep."""
        now = asyncio.get_running_loop().time
        if now() < self._memory_retry_at:
            return
        try:
            async with asyncio.timeout(self.memory_timeout_s):
                await self.settle(decision_id)
        except (TimeoutError, MemoryUnavailable) as error:
            self._memory_retry_at = now() + self.memory_retry_s
            log.warning("memory_lags", decision_id=str(decision_id), error=str(error))
        except StoreUnavailable as error:
            log.warning("memory_lags", decision_id=str(decision_id), error=str(error))
        except Exception:
            log.exception("memory_not_updated", decision_id=str(decision_id))

    async def _apply(self, pending: Pending) -> Pending | None:
        """Update the memory of one decision; returns a newer event if one was committed meanwhile."""
        experience = pending.experience
        if experience is None:
            await self.memory.forget([pending.decision_id])
        elif experience.encoder == self.encoder:
            await self.memory.remember([experience])
        if await self.evidence.mark_remembered(pending):
            return None
        return await self.evidence.pending_for(pending.decision_id)

    async def sweep(self) -> int:
        """Apply what the memory missed; returns how many decisions were updated.

        A decision that fails for its own reason stays queued, and is skipped until the next sweep.
        """
        n_applied = 0
        failed: set[UUID] = set()
        while batch := await self._pending_except(failed):
            for pending in batch:
                if await self._is_applied(pending):
                    n_applied += 1
                else:
                    failed.add(pending.decision_id)
        return n_applied

    async def _pending_except(self, failed: set[UUID]) -> list[Pending]:
        batch = await self.evidence.pending(SWEEP_BATCH + len(failed))
        return [pending for pending in batch if pending.decision_id not in failed]

    async def _is_applied(self, pending: Pending) -> bool:
        try:
            await self._apply(pending)
        except (MemoryUnavailable, StoreUnavailable):
            raise
        except Exception:
            log.exception("memory_not_updated", decision_id=str(pending.decision_id))
            return False
        return True

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
