"""Contexts of logged decisions that were decided without one."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from service.domain.basics import Vector
from service.store.connection.pool import Connection
from service.store.connection.values import to_half_bytes

# Locks in order of the ids, as other transactions on several decisions do.
_WRITE = """
WITH locked AS (
    SELECT decision_id FROM decisions
    WHERE decision_id = ANY($1::uuid[]) AND context IS NULL
    ORDER BY decision_id
    FOR NO KEY UPDATE
)
UPDATE decisions d
SET context = g.context, encoder = $3
FROM locked, unnest($1::uuid[], $2::bytea[]) AS g (decision_id, context)
WHERE d.decision_id = locked.decision_id AND g.decision_id = locked.decision_id
RETURNING d.decision_id
"""
# A statement of its own, so that it sees the ratings that the locks waited for.
_QUEUE = """
INSERT INTO memory_queue (decision_id, tenant, event_id, queued_at)
SELECT d.decision_id, d.tenant, e.event_id, now()
FROM decisions d
JOIN LATERAL (
    SELECT event_id FROM feedback_events f
    WHERE f.decision_id = d.decision_id
    ORDER BY event_id DESC LIMIT 1
) e ON true
WHERE d.decision_id = ANY($1::uuid[]) AND d.learn
ON CONFLICT (decision_id) DO NOTHING
"""


async def add_contexts(connection: Connection, contexts: Mapping[UUID, Vector], encoder: str) -> None:
    """Write contexts to decisions without one, in a transaction; queue the rated ones for the memory."""
    vectors = [to_half_bytes(context) for context in contexts.values()]
    written = await connection.fetch(_WRITE, list(contexts), vectors, encoder)
    if written:
        await connection.execute(_QUEUE, [row["decision_id"] for row in written])
