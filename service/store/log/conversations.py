"""The states of conversations in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from asyncpg import Record

from service.domain.conversation import ConversationState
from service.store.connection.pool import Database


class PostgresConversationStates:
    """A ConversationStates."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(
        self, tenant: str, keys: Sequence[bytes], since: datetime
    ) -> Mapping[bytes, ConversationState]:
        async with self._database.connection() as connection:
            rows = await connection.fetch(_FIND, tenant, list(keys), since)
        return {row["key"]: _conversation(row) for row in rows}

    async def prune(self, before: datetime) -> int:
        pruned = 0
        async with self._database.connection() as connection:
            while n := await connection.fetchval(_PRUNE, before, _PRUNE_BATCH):
                pruned += n
        return pruned


_FIND = """
SELECT key, arm_id, vendor, n_foreign, turns, holdout, decision_id, updated_at
FROM sessions
WHERE tenant = $1 AND key = ANY($2::bytea[]) AND updated_at >= $3
"""

_PRUNE_BATCH = 1_000  # rows locked at a time
_PRUNE = """
WITH old AS (
    SELECT tenant, key FROM sessions WHERE updated_at < $1 ORDER BY updated_at LIMIT $2
    FOR UPDATE SKIP LOCKED
), pruned AS (
    DELETE FROM sessions s USING old
    WHERE s.tenant = old.tenant AND s.key = old.key
    RETURNING 1
)
SELECT count(*) FROM pruned
"""


def _conversation(row: Record) -> ConversationState:
    return ConversationState(
        arm_id=row["arm_id"],
        vendor=row["vendor"],
        n_messages_of_other_vendors=row["n_foreign"],
        turns=row["turns"],
        holdout=row["holdout"],
        decision_id=row["decision_id"],
        updated_at=row["updated_at"],
    )
