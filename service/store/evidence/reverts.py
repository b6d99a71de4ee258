"""Takes ratings out of all that is learned, as if they had never been sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from service.store.connection.pool import Database
from service.store.evidence.rebuild import REBUILD_TIMEOUT_S, block_learning, repair_evidence


@dataclass(frozen=True, slots=True)
class RatingsOf:
    """The ratings of a tenant that a revert names; implicit signals are none of them.

    Args:
        key_ids: of the callers; empty: of those without a key; None: of any.
        source: that they name; None: any.
        since, until: when they were received; `until` is not part of the range.
    """

    tenant: str
    key_ids: Sequence[UUID] | None
    source: str | None
    since: datetime
    until: datetime

    @property
    def columns(self) -> tuple[object, ...]:
        key_ids = None if self.key_ids is None else list(self.key_ids)
        return self.tenant, key_ids, self.source, self.since, self.until


@dataclass(frozen=True, slots=True)
class Reverted:
    """What a revert took out; `revert_id=None`: nothing was."""

    revert_id: int | None
    n_ratings: int
    n_requests: int
    n_models: int


# An empty array of keys stands for ratings without one.
_NAMED = """
f.tenant = $1 AND f.signal IS NULL AND f.reverted_by IS NULL
    AND ($2::uuid[] IS NULL OR f.key_id = ANY ($2) OR cardinality($2) = 0 AND f.key_id IS NULL)
    AND ($3::text IS NULL OR f.source = $3) AND f.received_at >= $4 AND f.received_at < $5
"""
_COUNT = f"""
SELECT count(*) AS n_ratings, count(DISTINCT decision_id) AS n_requests, count(DISTINCT arm_id) AS n_models
FROM feedback_events f
WHERE {_NAMED}
"""  # noqa: S608  # joins constants
# In order of their ids and before the tables, as all that learns locks them: feedback on these decisions then
# finds what is left of them.
_LOCK = f"""
SELECT decision_id FROM decisions
WHERE decision_id IN (SELECT f.decision_id FROM feedback_events f WHERE {_NAMED})
ORDER BY decision_id
FOR NO KEY UPDATE
"""  # noqa: S608  # joins constants
_LOG = """
INSERT INTO feedback_reverts (tenant, key_ids, source, since, until, reverted_at)
VALUES ($1, $2, $3, $4, $5, $6)
RETURNING revert_id
"""
_REVERT = f"""
WITH reverted AS (
    UPDATE feedback_events f SET reverted_by = $6
    WHERE {_NAMED} AND f.decision_id = ANY ($8)
    RETURNING f.decision_id, f.tenant, f.arm_id
), marked AS (
    INSERT INTO feedback_events (decision_id, tenant, arm_id, received_at, reverted_by)
    SELECT DISTINCT ON (decision_id) decision_id, tenant, arm_id, $7::timestamptz, $6::bigint
    FROM reverted
    ORDER BY decision_id, arm_id
    RETURNING event_id, decision_id, tenant
), queued AS (
    INSERT INTO memory_queue (decision_id, tenant, event_id, queued_at)
    SELECT m.decision_id, m.tenant, m.event_id, $7::timestamptz
    FROM marked m
    JOIN decisions d ON d.decision_id = m.decision_id
    WHERE d.learn AND d.context IS NOT NULL
    ORDER BY m.decision_id
    ON CONFLICT (decision_id) DO UPDATE SET event_id = excluded.event_id
)
SELECT count(*) AS n_ratings, count(DISTINCT decision_id) AS n_requests, count(DISTINCT arm_id) AS n_models
FROM reverted
"""  # noqa: S608  # joins constants
# Every replica reads the evidence again at once; no replica has this name.
_NOTIFY = "SELECT pg_notify('evidence', 'revert')"


async def count_ratings(database: Database, ratings: RatingsOf) -> Reverted:
    """Count what `revert` would take out. Raises StoreUnavailable."""
    async with database.connection(timeout_s=REBUILD_TIMEOUT_S) as connection:
        (row,) = await connection.fetch(_COUNT, *ratings.columns, timeout=REBUILD_TIMEOUT_S)
    return Reverted(None, **row)


async def revert(database: Database, ratings: RatingsOf, now: datetime) -> Reverted:
    """Take ratings out in one transaction, which blocks learning, and fold the events that are left.

    Sums and histories are then what they would be without these ratings, to the last bit. The memory follows
    from its queue. Ratings that arrive meanwhile stay. Raises StoreUnavailable: nothing was reverted.
    """
    async with database.transaction(timeout_s=REBUILD_TIMEOUT_S) as connection:
        rows = await connection.fetch(_LOCK, *ratings.columns, timeout=REBUILD_TIMEOUT_S)
        if not rows:
            return Reverted(None, 0, 0, 0)
        await block_learning(connection)
        locked = [row["decision_id"] for row in rows]
        revert_id = await connection.fetchval(_LOG, *ratings.columns, now)
        (row,) = await connection.fetch(
            _REVERT, *ratings.columns, revert_id, now, locked, timeout=REBUILD_TIMEOUT_S
        )
        await repair_evidence(connection)
        await connection.execute(_NOTIFY)
    return Reverted(revert_id, **row)


_KEYS = "SELECT key_id FROM api_keys WHERE tenant = $1 AND (name = $2 OR key_id::text = lower($2))"


async def key_ids_of(database: Database, tenant: str, reference: str) -> list[UUID]:
    """The keys of a tenant with this id or name, revoked ones too. Raises StoreUnavailable."""
    async with database.connection() as connection:
        return [row["key_id"] for row in await connection.fetch(_KEYS, tenant, reference)]
