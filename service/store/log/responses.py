"""The stored responses in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import orjson
from asyncpg import Record

from service.domain.stored_response import StoredResponse
from service.store.connection.pool import Database

# One batch locks few rows, and its texts are deleted in little time.
_PRUNE_BATCH = 100


class PostgresResponseStore:
    """A ResponseStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, response: StoredResponse) -> None:
        values = (
            response.tenant,
            response.response_id,
            response.previous_id,
            orjson.dumps(response.input).decode(),
            orjson.dumps(response.response).decode(),
            response.created_at,
        )
        async with self._database.connection() as connection:
            await connection.execute(_KEEP, *values)

    async def chain(self, tenant: str, response_id: str, limit: int) -> Sequence[StoredResponse]:
        async with self._database.connection() as connection:
            rows = await connection.fetch(_CHAIN, tenant, response_id, limit)
        return [_stored(row) for row in rows]

    async def delete(self, tenant: str, response_id: str) -> bool:
        async with self._database.as_tenant(tenant) as connection:
            return bool(await connection.fetchval(_DELETE, tenant, response_id))

    async def prune(self, before: datetime) -> int:
        pruned = 0
        async with self._database.connection() as connection:
            while n := await connection.fetchval(_PRUNE, before, _PRUNE_BATCH):
                pruned += n
        return pruned


_KEEP = """
INSERT INTO responses (tenant, response_id, previous_id, input, response, created_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (tenant, response_id) DO UPDATE
SET previous_id = EXCLUDED.previous_id, input = EXCLUDED.input, response = EXCLUDED.response,
    created_at = EXCLUDED.created_at
"""

_CHAIN = """
WITH RECURSIVE chain AS (
    SELECT r.*, 1 AS position FROM responses r WHERE tenant = $1 AND response_id = $2
    UNION ALL
    SELECT r.*, chain.position + 1
    FROM chain JOIN responses r ON r.tenant = chain.tenant AND r.response_id = chain.previous_id
    WHERE chain.position < $3
)
SELECT tenant, response_id, previous_id, input, response, created_at FROM chain ORDER BY position DESC
"""

_DELETE = "DELETE FROM responses WHERE tenant = $1 AND response_id = $2 RETURNING true"

_PRUNE = """
WITH old AS (
    SELECT tenant, response_id FROM responses WHERE created_at < $1 ORDER BY created_at LIMIT $2
    FOR UPDATE SKIP LOCKED
), pruned AS (
    DELETE FROM responses r USING old
    WHERE r.tenant = old.tenant AND r.response_id = old.response_id
    RETURNING 1
)
SELECT count(*) FROM pruned
"""


def _stored(row: Record) -> StoredResponse:
    return StoredResponse(
        tenant=row["tenant"],
        response_id=row["response_id"],
        previous_id=row["previous_id"],
        input=tuple(orjson.loads(row["input"])),
        response=orjson.loads(row["response"]),
        created_at=row["created_at"],
    )
