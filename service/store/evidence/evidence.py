"""What was learned about every arm: events, sums and histories in PostgreSQL, a snapshot in this replica."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from asyncpg import Record

from bandit.drift import ArmHistory
from service.domain.arm import ArmSums
from service.domain.basics import Vector
from service.domain.feedback import (
    Experience,
    Feedback,
    FeedbackStatus,
    ImplicitSignal,
    Learned,
    Pending,
    Reward,
)
from service.errors import UnknownRequest
from service.store.connection.follow import Follower
from service.store.connection.pool import Database
from service.store.connection.values import storable
from service.store.evidence.append import Applied, append_events
from service.store.evidence.contexts import add_contexts
from service.store.evidence.experiences import PENDING, PENDING_FOR, RATED, experience_of, pending_of
from service.store.evidence.histories import history_of
from service.store.evidence.snapshot import Snapshot
from service.store.evidence.standing_feedback import Event
from service.store.evidence.sums import sums_of


class PostgresEvidence:
    """An Evidence. Between `start` and `close` the snapshot follows the changes of other replicas.

    Feedback notifies all replicas at once. Outcomes do not, because there is one per request: a replica
    sees its own outcomes at once, and those of others when it polls.
    """

    def __init__(self, database: Database, *, poll_every_s: float = 3.0) -> None:
        self.snapshot = Snapshot()
        self._database = database
        self._seen_until = 0  # all transactions before this one had ended at the last refresh
        self._follower = Follower(database, "evidence", self.refresh, poll_every_s=poll_every_s)

    @property
    def is_loaded(self) -> bool:
        return self._seen_until > 0

    def sums(self, tenant: str) -> Mapping[str, ArmSums]:
        return self.snapshot.sums(tenant)

    def histories(self, tenant: str) -> Mapping[str, ArmHistory]:
        return self.snapshot.histories(tenant)

    async def rated(self, tenant: str, encoder: str, limit: int) -> list[Experience]:
        async with self._database.connection() as connection:
            rows = await connection.fetch(RATED, tenant, encoder, limit)
        return await asyncio.to_thread(_experiences, rows)  # thousands of vectors

    async def learn(self, feedback: Feedback, reward: Reward | None) -> Learned:
        text = storable(feedback.text)
        async with self._database.transaction() as connection:
            decision = await connection.fetchrow(_LOCK_BY_REQUEST, feedback.tenant, feedback.request_id)
            if decision is None:
                raise _unknown(feedback)
            current = await connection.fetchrow(_CURRENT, decision["decision_id"])
            assert current is not None
            if _outweighs(current, feedback):
                return _unchanged("kept", feedback, decision, current)
            if _is_repeated(current, feedback, text, reward):
                return _unchanged("duplicate", feedback, decision, current)
            arm_id = current["answered_by"] or decision["arm_id"]
            event = Event(
                arm_id,
                reward,
                score=None if reward is None else feedback.score,
                text=text,
                session_id=storable(feedback.session_id),
            )
            applied = await append_events(connection, decision, current, [event], feedback.received_at)
        self._show(feedback.tenant, applied)
        return Learned(
            status=_status(decision["learn"], current["reward"] is not None, reward),
            decision_id=decision["decision_id"],
            request_id=feedback.request_id,
            arm_id=arm_id,
            event_id=applied.event_ids[-1],
            reward=None if reward is None else float(reward.value),
        )

    async def conversation_requests(self, tenant: str, session_id: str, limit: int) -> list[str]:
        async with self._database.connection() as connection:
            rows = await connection.fetch(_CONVERSATION, tenant, storable(session_id), limit)
        return [row["request_id"] for row in rows]

    async def learn_signals(
        self, tenant: str, decision_id: UUID, signals: Sequence[ImplicitSignal], received_at: datetime
    ) -> list[ImplicitSignal]:
        async with self._database.transaction() as connection:
            decision = await connection.fetchrow(_LOCK_BY_ID, tenant, decision_id)
            if decision is None:
                raise UnknownRequest(f"no decision {decision_id} was logged")
            current = await connection.fetchrow(_CURRENT, decision_id)
            assert current is not None
            known = set(zip(current["signals"], current["signal_arms"], strict=True))
            new = [signal for signal in signals if (signal.signal, signal.arm_id) not in known]
            if not new or not decision["learn"]:
                return []
            events = [
                Event(signal.arm_id, Reward(Decimal(0), signal.weight), signal.signal) for signal in new
            ]
            applied = await append_events(connection, decision, current, events, received_at)
        self._show(tenant, applied)
        return new

    def _show(self, tenant: str, applied: Applied) -> None:
        self.snapshot.put(tenant, applied.sums)
        self.snapshot.put_histories(tenant, applied.histories)

    async def add_contexts(self, contexts: Mapping[UUID, Vector], encoder: str) -> None:
        async with self._database.transaction() as connection:
            await add_contexts(connection, contexts, encoder)

    async def pending(self, limit: int) -> list[Pending]:
        async with self._database.connection() as connection:
            return [pending_of(row) for row in await connection.fetch(PENDING, limit)]

    async def pending_for(self, decision_id: UUID) -> Pending | None:
        async with self._database.connection() as connection:
            row = await connection.fetchrow(PENDING_FOR, decision_id)
        return None if row is None else pending_of(row)

    async def mark_remembered(self, pending: Pending) -> bool:
        async with self._database.connection() as connection:
            is_newest = await connection.fetchval(
                _REMEMBERED, pending.decision_id, pending.tenant, pending.event_id
            )
        return bool(is_newest)

    # --- following other replicas ----------------------------------------------------------------------

    async def start(self) -> None:
        """Load the snapshot and keep it up to date. Without PostgreSQL it loads once that is available."""
        await self._follower.start()

    async def close(self) -> None:
        await self._follower.close()

    async def refresh(self) -> None:
        """Fetch the changes since the last refresh. Raises StoreUnavailable."""
        async with self._database.connection() as connection:
            # `_seen_until` comes from the first statement: the next refresh fetches later changes again.
            rows = await connection.fetch(_CHANGED, self._seen_until)
            histories = await connection.fetch(_CHANGED_HISTORIES, self._seen_until)
        for row in histories:
            self.snapshot.put_histories(row["tenant"], {row["arm_id"]: (row["version"], history_of(row))})
        for row in rows:
            self._seen_until = row["seen_until"]
            if row["arm_id"] is not None:
                self.snapshot.put(row["tenant"], {row["arm_id"]: (row["version"], sums_of(row))})


_DECISION = """
SELECT decision_id, tenant, arm_id, learn, context IS NOT NULL AS has_context, decided_at,
    (explanation ->> 'n_rated')::float8 AS n_rated, explanation -> 'candidates' AS candidates
FROM decisions
"""
# The lock makes transactions that change one decision's feedback run one after the other.
_LOCK_BY_REQUEST = _DECISION + "WHERE tenant = $1 AND request_id = $2 FOR NO KEY UPDATE"
_LOCK_BY_ID = _DECISION + "WHERE tenant = $1 AND decision_id = $2 FOR NO KEY UPDATE"

# A statement of its own after the lock, so that it sees the changes that the lock waited for.
_CURRENT = """
SELECT v.*, o.arm_id AS answered_by,
    ARRAY(
        SELECT arm_id FROM feedback_events f
        WHERE f.decision_id = v.decision_id AND f.signal IS NULL AND f.reward IS NOT NULL
    ) AS arms_scored
FROM verdicts v
LEFT JOIN outcomes o ON o.decision_id = v.decision_id
WHERE v.decision_id = $1
"""

_CONVERSATION = """
SELECT request_id
FROM decisions
WHERE tenant = $1 AND session_id = $2 AND learn
ORDER BY decided_at DESC, decision_id
LIMIT $3
"""

# The memory is up to date if the newest event was applied. If an older one was applied, it may have replaced
# a newer one in the memory, so the decision is queued again.
_REMEMBERED = """
WITH newest AS (
    SELECT max(event_id) AS event_id FROM feedback_events WHERE decision_id = $1
), done AS (
    DELETE FROM memory_queue q
    USING newest
    WHERE q.decision_id = $1 AND q.event_id <= $3 AND newest.event_id <= $3
), again AS (
    INSERT INTO memory_queue (decision_id, tenant, event_id, queued_at)
    SELECT $1, $2, event_id, now() FROM newest WHERE event_id > $3
    ON CONFLICT (decision_id) DO UPDATE SET event_id = greatest(memory_queue.event_id, excluded.event_id)
)
SELECT event_id <= $3 FROM newest
"""

# Rows changed by transactions that had not ended at the last refresh, or began since. At least one row.
_CHANGED = """
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS seen_until,
    e.tenant, e.arm_id, e.n, e.reward_sum, e.n_outcomes, e.latency_s_sum, e.cost_usd_sum,
    e.n_unpriced, e.cost_usd_squares, e.latency_s_squares, e.version
FROM (VALUES (1)) AS always (one)
LEFT JOIN evidence e ON e.changed_in >= $1::bigint::text::xid8
"""
_CHANGED_HISTORIES = "SELECT * FROM histories WHERE changed_in >= $1::bigint::text::xid8"


def _experiences(rows: Sequence[Record]) -> list[Experience]:
    experiences = (experience_of(row) for row in rows)
    return [experience for experience in experiences if experience is not None]


def _unknown(feedback: Feedback) -> UnknownRequest:
    return UnknownRequest(f"request_id {feedback.request_id!r} does not exist", param="request_id")


def _unchanged(status: FeedbackStatus, feedback: Feedback, decision: Record, current: Record) -> Learned:
    return Learned(
        status=status,
        decision_id=decision["decision_id"],
        request_id=feedback.request_id,
        arm_id=current["arm_id"] or current["answered_by"] or decision["arm_id"],
        event_id=None,
        reward=None if current["reward"] is None else float(current["reward"]),
    )


def _outweighs(current: Record, feedback: Feedback) -> bool:
    """Whether the request has a rating of its own, and the feedback is on its conversation."""
    return feedback.session_id is not None and current["reward"] is not None and current["session_id"] is None


def _is_repeated(current: Record, feedback: Feedback, text: str | None, reward: Reward | None) -> bool:
    if reward is None or current["reward"] is None:
        return reward is None and current["reward"] is None
    before = current["score"], current["feedback_text"], current["session_id"]
    if before != (feedback.score, text, storable(feedback.session_id)):
        return False
    if feedback.session_id is not None and current["weight"] != reward.weight:  # the conversation has grown
        return False
    return feedback.score is not None or current["reward"] == reward.value


def _status(learns: bool, was_rated: bool, reward: Reward | None) -> FeedbackStatus:
    if not learns:
        return "not_learned"
    if reward is None:
        return "withdrawn"
    return "revised" if was_rated else "applied"
