"""What was learned about every arm: events, sums and histories in PostgreSQL, a snapshot in this replica."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID, uuid4

from asyncpg import Record

from bandit.drift import ArmHistory
from service.domain.arm import ArmSums
from service.domain.basics import Vector
from service.domain.feedback import (
    UNLIMITED,
    Experience,
    Feedback,
    ImplicitSignal,
    Learned,
    Pending,
    RevisionLimits,
    Reward,
    SignalsLearned,
)
from service.grouped import Grouped
from service.store.connection.follow import Follower
from service.store.connection.pool import Database
from service.store.connection.values import storable
from service.store.evidence.contexts import add_contexts
from service.store.evidence.experiences import PENDING, PENDING_FOR, RATED, experience_of, pending_of
from service.store.evidence.histories import history_of
from service.store.evidence.learning import Effect, Entry, Rated, Signalled, learn_group
from service.store.evidence.snapshot import Snapshot
from service.store.evidence.sums import sums_of

_PATIENCE_S = 1.0  # far above the time of a group under load, and below the limit of a statement


class PostgresEvidence:
    """An Evidence. Between `start` and `close` the snapshot follows the changes of other replicas.

    Feedback notifies all replicas at once. Outcomes do not, because there is one per request: a replica
    sees its own outcomes at once, and those of others when it polls.

    Feedback and signals of one moment share a transaction, one at a time in this process. So the rows of an
    arm change once for a group, and not once for each of its feedbacks.

    Args:
        limits: of ratings that replace others.
        patience_s: how long feedback waits for a group before it, which may hang; then another begins beside
            it, and the locks on decisions order the two, as they do those of replicas.
    """

    def __init__(
        self,
        database: Database,
        limits: RevisionLimits = UNLIMITED,
        *,
        poll_every_s: float = 3.0,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self.snapshot = Snapshot()
        self._database = database
        self._limits = limits
        self._seen_until = 0  # all transactions before this one had ended at the last refresh
        self._sender = uuid4().hex  # this replica, whose own changes need no refresh
        self._follower = Follower(
            database, "evidence", self.refresh, poll_every_s=poll_every_s, ignored=self._sender
        )
        self._adding_contexts = Grouped[tuple[Mapping[UUID, Vector], str], None](self._add_contexts)
        self._learning = Grouped[Entry, Learned | SignalsLearned](self._learn, patience_s=patience_s)

    @property
    def is_loaded(self) -> bool:
        return self._seen_until > 0

    def sums(self, tenant: str) -> Mapping[str, ArmSums]:
        return self.snapshot.sums(tenant)

    def histories(self, tenant: str) -> Mapping[str, ArmHistory]:
        return self.snapshot.histories(tenant)

    def others(self, tenant: str) -> Iterable[Mapping[str, ArmHistory]]:
        return self.snapshot.others(tenant)

    async def rated(self, tenant: str, encoder: str, limit: int) -> list[Experience]:
        async with self._database.as_tenant(tenant, readonly=True) as connection:
            rows = await connection.fetch(RATED, tenant, encoder, limit)
        return await asyncio.to_thread(_experiences, rows)  # thousands of vectors

    async def learn(self, feedback: Feedback, reward: Reward | None) -> Learned:
        learned = await self._learning.add(Rated(feedback, reward))
        assert isinstance(learned, Learned)
        return learned

    async def conversation_requests(self, tenant: str, session_id: str, limit: int) -> list[str]:
        async with self._database.as_tenant(tenant, readonly=True) as connection:
            rows = await connection.fetch(_CONVERSATION, tenant, storable(session_id), limit)
        return [row["request_id"] for row in rows]

    async def learn_signals(
        self, tenant: str, decision_id: UUID, signals: Sequence[ImplicitSignal], received_at: datetime
    ) -> SignalsLearned:
        learned = await self._learning.add(Signalled(tenant, decision_id, signals, received_at))
        assert isinstance(learned, SignalsLearned)
        return learned

    async def _learn(self, entries: Sequence[Entry]) -> Sequence[Effect]:
        async with self._database.transaction() as connection:
            effects, written = await learn_group(connection, entries, self._sender, self._limits)
        for (tenant, arm_id), sums in written.sums.items():
            self.snapshot.put(tenant, {arm_id: sums})
        for (tenant, arm_id), history in written.histories.items():
            self.snapshot.put_histories(tenant, {arm_id: history})
        return effects

    async def add_contexts(self, contexts: Mapping[UUID, Vector], encoder: str) -> None:
        await self._adding_contexts.add((contexts, encoder))

    async def _add_contexts(self, added: Sequence[tuple[Mapping[UUID, Vector], str]]) -> Sequence[None]:
        by_encoder: dict[str, dict[UUID, Vector]] = {}
        for contexts, encoder in added:
            by_encoder.setdefault(encoder, {}).update(contexts)
        async with self._database.transaction() as connection:
            for encoder, contexts in by_encoder.items():
                await add_contexts(connection, contexts, encoder)
        return [None] * len(added)

    async def pending(self, limit: int) -> list[Pending]:
        async with self._database.connection() as connection:
            return [pending_of(row) for row in await connection.fetch(PENDING, limit)]

    async def pending_for(self, decision_ids: Collection[UUID]) -> list[Pending]:
        async with self._database.connection() as connection:
            rows = await connection.fetch(PENDING_FOR, list(decision_ids))
        return [pending_of(row) for row in rows]

    async def mark_remembered(self, remembered: Collection[Pending]) -> set[UUID]:
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                _REMEMBERED,
                [pending.decision_id for pending in remembered],
                [pending.event_id for pending in remembered],
                [pending.completed_at for pending in remembered],
            )
        return {row["decision_id"] for row in rows}

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


_CONVERSATION = """
SELECT request_id
FROM decisions
WHERE tenant = $1 AND session_id = $2 AND learn
ORDER BY decided_at DESC, decision_id
LIMIT $3
"""

# The memory is up to date if the newest event and outcome were applied. If older ones were applied, they may
# have replaced newer ones in the memory, so the decision is queued again. Rows are locked in order of ids.
_REMEMBERED = """
WITH remembered AS (
    SELECT r.decision_id, r.event_id, newest.tenant, newest.event_id AS newest_id,
        newest.event_id > r.event_id OR o.completed_at IS DISTINCT FROM r.completed_at AS is_outdated
    FROM unnest($1::uuid[], $2::bigint[], $3::timestamptz[]) AS r (decision_id, event_id, completed_at)
    CROSS JOIN LATERAL (
        SELECT f.event_id, f.tenant FROM feedback_events f
        WHERE f.decision_id = r.decision_id ORDER BY f.event_id DESC LIMIT 1
    ) newest
    LEFT JOIN outcomes o ON o.decision_id = r.decision_id
), done AS (
    DELETE FROM memory_queue USING (
        SELECT q.decision_id
        FROM memory_queue q
        JOIN remembered r ON r.decision_id = q.decision_id AND q.event_id <= r.event_id
        WHERE NOT r.is_outdated
        ORDER BY q.decision_id
        FOR UPDATE OF q
    ) locked
    WHERE memory_queue.decision_id = locked.decision_id
), again AS (
    INSERT INTO memory_queue (decision_id, tenant, event_id, queued_at)
    SELECT decision_id, tenant, newest_id, now() FROM remembered WHERE is_outdated ORDER BY decision_id
    ON CONFLICT (decision_id) DO UPDATE SET event_id = greatest(memory_queue.event_id, excluded.event_id)
)
SELECT decision_id FROM remembered WHERE is_outdated
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
