"""Delete requests that are older than RETENTION_DAYS; what was learned from them stays."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import structlog

from service.domain.ports import Clock
from service.errors import StoreUnavailable
from service.store.connection.pool import Connection, Database
from service.store.evidence.retired import retire_outcomes
from service.store.forgetting.kin import BEGIN_DELETING, delete_kin
from service.store.log.forgotten import PostgresForgottenDecisions

log = structlog.get_logger(__name__)

RETIRE_EVERY_S = 60.0
_START_OVER_AFTER = timedelta(days=1)
_FIRST = datetime(1, 1, 1, tzinfo=UTC)
_FIRST_ID = UUID(int=0)


@dataclass(frozen=True, slots=True)
class _Place:
    """A place in a tenant's decisions, the oldest first."""

    decided_at: datetime = _FIRST
    decision_id: UUID = _FIRST_ID


class Retention:
    """Deletes old requests without feedback, and takes texts and neighbours from those with feedback.

    Histories are folded over the feedback, so that its requests stay, with what the fold reads. The sums of
    deleted outcomes are kept apart, and the ids so that no copy is counted once more. One replica does it at
    a time; the others skip their turn. What became old, or was rated, behind the place that was reached is
    found within a day.

    Args:
        days: age of the requests, days.
        batch: decisions of one transaction.
    """

    def __init__(self, database: Database, days: int, *, batch: int = 200) -> None:
        self._database = database
        self._age = timedelta(days=days)
        self._batch_size = batch
        self._places: dict[str, _Place] = {}  # by tenant: what was done since then is not read again
        self._started_over_at: datetime | None = None

    async def retire(self, now: datetime) -> int:
        """Bring the log to its limit; returns how many requests were deleted. Raises StoreUnavailable.

        Between two batches it waits as long as the first one took, so that others have half of the time.
        """
        clock = asyncio.get_running_loop().time
        if self._started_over_at is None or now - self._started_over_at >= _START_OVER_AFTER:
            await PostgresForgottenDecisions(self._database).prune()
            self._places.clear()
            self._started_over_at = now
        async with self._database.connection() as connection:
            tenants = [row["tenant"] for row in await connection.fetch(_TENANTS)]
        n_deleted = 0
        for tenant in tenants:
            while True:
                started_at = clock()
                n_in_batch, n_of_batch = await self._batch(tenant, now - self._age)
                n_deleted += n_of_batch
                if n_in_batch < self._batch_size:
                    break
                await asyncio.sleep(clock() - started_at)
        return n_deleted

    async def retire_forever(self, clock: Clock) -> None:
        """Retire every minute, until cancelled."""
        while True:
            await asyncio.sleep(RETIRE_EVERY_S)
            try:
                if n_deleted := await self.retire(clock()):
                    log.info("requests_retired", requests=n_deleted)
            except (StoreUnavailable, asyncpg.LockNotAvailableError) as error:
                log.debug("requests_not_retired", error=str(error))
            except Exception:
                log.exception("requests_not_retired")

    async def _batch(self, tenant: str, decided_before: datetime) -> tuple[int, int]:
        """Retire the next decisions of a tenant; returns how many these were, and how many were deleted."""
        place = self._places.get(tenant, _Place())
        async with self._database.transaction() as connection:
            if not await connection.fetchval(_ELECTED):
                return 0, 0
            await connection.execute(BEGIN_DELETING)
            rows = await connection.fetch(
                _NEXT, tenant, place.decided_at, place.decision_id, decided_before, self._batch_size
            )
            if not rows:
                return 0, 0
            n_deleted = await _retire(connection, [row["decision_id"] for row in rows])
        self._places[tenant] = _Place(rows[-1]["decided_at"], rows[-1]["decision_id"])
        return len(rows), n_deleted


async def _retire(connection: Connection, decision_ids: Sequence[UUID]) -> int:
    await connection.fetch(_LOCK, decision_ids)
    # A statement of its own, which sees the feedback that the locks waited for.
    rows = await connection.fetch(_UNRATED, decision_ids)
    unrated = [row["decision_id"] for row in rows]
    rated = [decision_id for decision_id in decision_ids if decision_id not in set(unrated)]
    for statement in _STRIP:
        await connection.execute(statement, rated)
    await retire_outcomes(connection, unrated)
    await connection.execute(_BURY, unrated)
    return (await delete_kin(connection, unrated))["decisions"]


# One replica at a time, until the transaction ends; the number is arbitrary.
_ELECTED = "SELECT pg_try_advisory_xact_lock(7065190244)"
# From one tenant to the next in the index, and not through all rows.
_TENANTS = """
WITH RECURSIVE t AS (
    SELECT min(tenant) AS tenant FROM decisions
    UNION ALL
    SELECT (SELECT min(d.tenant) FROM decisions d WHERE d.tenant > t.tenant) FROM t
    WHERE t.tenant IS NOT NULL
)
SELECT tenant FROM t WHERE tenant IS NOT NULL
"""
# Imported rows are no traffic: they are there to teach. The condition is written as in the index.
_NEXT = """
SELECT decision_id, decided_at FROM decisions
WHERE tenant = $1 AND dialect <> 'import' AND (decided_at, decision_id) > ($2, $3) AND decided_at < $4
ORDER BY decided_at, decision_id
LIMIT $5
"""
_LOCK = "SELECT FROM decisions WHERE decision_id = ANY($1) ORDER BY decision_id FOR UPDATE"
_UNRATED = """
SELECT d.decision_id FROM decisions d
WHERE d.decision_id = ANY($1)
    AND NOT EXISTS (SELECT FROM feedback_events f WHERE f.decision_id = d.decision_id)
"""
# The memory has none of them: nobody rated them.
_BURY = """
INSERT INTO forgotten_decisions (decision_id, forgotten_at, n_removals) SELECT unnest($1::uuid[]), now(), 2
ON CONFLICT (decision_id) DO UPDATE SET forgotten_at = excluded.forgotten_at
"""
# Of rated requests, what neither the learner nor the memory reads.
_STRIP = (
    "UPDATE decisions SET query_text = NULL, recalled = NULL WHERE decision_id = ANY($1)"
    " AND (query_text IS NOT NULL OR recalled IS NOT NULL)",
    "UPDATE outcomes SET answer_text = NULL WHERE decision_id = ANY($1) AND answer_text IS NOT NULL",
    "UPDATE shadow_answers SET answer_text = NULL WHERE decision_id = ANY($1) AND answer_text IS NOT NULL",
    "UPDATE feedback_events SET feedback_text = NULL"
    " WHERE decision_id = ANY($1) AND feedback_text IS NOT NULL",
    "UPDATE attempts SET error_message = NULL WHERE decision_id = ANY($1) AND error_message IS NOT NULL",
    "DELETE FROM request_bodies WHERE decision_id = ANY($1)",
)
