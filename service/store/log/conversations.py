"""The states of conversations in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from asyncpg import Record

from service.domain.answer import Outcome
from service.domain.conversation import ConversationState
from service.store.connection.pool import Connection, Database


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


async def move_conversation(connection: Connection, outcome: Outcome) -> None:
    """Update a named conversation to the state of an outcome, unless a newer request has changed it."""
    conversation = outcome.conversation
    if conversation is not None and not outcome.answer_names:
        values = (
            conversation.decision_id,
            outcome.tenant,
            conversation.arm_id,
            conversation.vendor,
            conversation.n_messages_of_other_vendors,
            conversation.updated_at,
        )
        await connection.execute(_MOVE, *values)


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

_MOVE = """
UPDATE sessions s
SET arm_id = $3, vendor = $4, n_foreign = $5, updated_at = $6
FROM decisions d
WHERE d.decision_id = $1 AND s.tenant = $2 AND s.key = d.session_key AND s.decision_id = $1
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
