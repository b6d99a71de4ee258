"""Contexts of logged decisions that have none, or one of another encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from service.domain.basics import Vector
from service.store.connection.pool import Connection, Database
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


_TIMEOUT_S = 3600.0  # a statement may read the whole log


@dataclass(frozen=True, slots=True)
class OtherContexts:
    """How many decisions have a context of another encoder, with and without a text to encode again."""

    n_with_text: int
    n_without_text: int


_COUNT_OTHER = """
SELECT count(*) FILTER (WHERE query_text <> '') AS n_with_text,
    count(*) FILTER (WHERE query_text IS NULL OR query_text = '') AS n_without_text
FROM decisions
WHERE encoder <> $1 AND context IS NOT NULL AND learn
"""
_OTHER_TEXTS = """
SELECT decision_id, query_text
FROM decisions
WHERE decision_id > $2 AND encoder <> $1 AND context IS NOT NULL AND learn AND query_text <> ''
ORDER BY decision_id
LIMIT $3
"""
# Locks in order of the ids, as above.
_REPLACE = """
WITH locked AS (
    SELECT decision_id FROM decisions
    WHERE decision_id = ANY($1::uuid[])
    ORDER BY decision_id
    FOR NO KEY UPDATE
)
UPDATE decisions d
SET context = g.context, encoder = $3
FROM locked, unnest($1::uuid[], $2::bytea[]) AS g (decision_id, context)
WHERE d.decision_id = locked.decision_id AND g.decision_id = locked.decision_id
"""


async def count_other_contexts(database: Database, encoder: str) -> OtherContexts:
    """Count the decisions to learn from whose context another encoder made. Raises StoreUnavailable."""
    async with database.connection(timeout_s=_TIMEOUT_S) as connection:
        (row,) = await connection.fetch(_COUNT_OTHER, encoder, timeout=_TIMEOUT_S)
    return OtherContexts(row["n_with_text"], row["n_without_text"])


async def other_texts(database: Database, encoder: str, *, after: UUID, most: int) -> dict[UUID, str]:
    """Texts of the next decisions whose context another encoder made, in order of the ids.

    Raises StoreUnavailable.
    """
    async with database.connection(timeout_s=_TIMEOUT_S) as connection:
        rows = await connection.fetch(_OTHER_TEXTS, encoder, after, most, timeout=_TIMEOUT_S)
    return {row["decision_id"]: row["query_text"] for row in rows}


async def replace_contexts(database: Database, contexts: Mapping[UUID, Vector], encoder: str) -> None:
    """Write contexts in the place of others. Raises StoreUnavailable."""
    vectors = [to_half_bytes(context) for context in contexts.values()]
    async with database.connection(timeout_s=_TIMEOUT_S) as connection:
        await connection.execute(_REPLACE, list(contexts), vectors, encoder, timeout=_TIMEOUT_S)
