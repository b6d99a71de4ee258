"""The answers that all replicas may give again, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import orjson
from asyncpg import Record

from service.domain.cached_answer import CachedAnswer, KeptQuestion, Question
from service.domain.conversation import ConversationState
from service.store.connection.pool import Database
from service.store.connection.values import from_bytes, storable, to_bytes


class PostgresAnswerStore:
    """An AnswerStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, tenant: str, key: bytes, now: datetime) -> CachedAnswer | None:
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_FIND, tenant, key, now)
        return None if row is None else _answer(row)

    async def near(self, tenant: str, scope: bytes, now: datetime, limit: int) -> Sequence[KeptQuestion]:
        async with self._database.connection() as connection:
            rows = await connection.fetch(_NEAR, tenant, scope, now, limit)
        return [KeptQuestion(row["key"], _question(row)) for row in rows]

    async def keep(self, answer: CachedAnswer) -> None:
        question = answer.question
        values = (
            answer.tenant,
            answer.key,
            storable(answer.request_id),
            answer.arm_id,
            orjson.dumps(answer.body),
            None if answer.conversation is None else orjson.dumps(answer.conversation),
            answer.expires_at,
            None if question is None else question.scope,
            None if question is None else question.text.encode(),
            None if question is None else to_bytes(question.context),
            None if question is None else question.encoder,
        )
        async with self._database.connection() as connection:
            await connection.execute(_KEEP, *values)

    async def prune(self, now: datetime, max_size: int) -> int:
        pruned = 0
        async with self._database.connection() as connection:
            while n := await connection.fetchval(_PRUNE_EXPIRED, now, _PRUNE_BATCH):
                pruned += n
            while surplus := await connection.fetchval(_SURPLUS, max_size):
                pruned += await connection.fetchval(_PRUNE_OLDEST, min(surplus, _PRUNE_BATCH))
        return pruned

    async def clear(self, tenant: str) -> int:
        async with self._database.as_tenant(tenant) as connection:
            return int(await connection.fetchval(_CLEAR, tenant))

    async def count(self, tenant: str) -> int:
        async with self._database.as_tenant(tenant) as connection:
            return int(await connection.fetchval(_COUNT, tenant))


_FIND = """
SELECT tenant, key, request_id, arm_id, body, conversation, expires_at, scope, question, context, encoder
FROM cached_answers
WHERE tenant = $1 AND key = $2 AND expires_at > $3
"""
_NEAR = """
SELECT key, scope, question, context, encoder
FROM cached_answers
WHERE tenant = $1 AND scope = $2 AND scope IS NOT NULL AND expires_at > $3
ORDER BY expires_at DESC
LIMIT $4
"""

_KEEP = """
INSERT INTO cached_answers
    (tenant, key, request_id, arm_id, body, conversation, expires_at, scope, question, context, encoder)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (tenant, key) DO UPDATE SET
    request_id = excluded.request_id, arm_id = excluded.arm_id, body = excluded.body,
    conversation = excluded.conversation, expires_at = excluded.expires_at, scope = excluded.scope,
    question = excluded.question, context = excluded.context, encoder = excluded.encoder
"""

_PRUNE_BATCH = 1_000  # rows locked at a time
_PRUNE_EXPIRED = """
WITH old AS (
    SELECT tenant, key FROM cached_answers WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2
    FOR UPDATE SKIP LOCKED
), pruned AS (
    DELETE FROM cached_answers a USING old WHERE a.tenant = old.tenant AND a.key = old.key RETURNING 1
)
SELECT count(*) FROM pruned
"""
_SURPLUS = "SELECT greatest(0, count(*) - $1) FROM cached_answers"
_PRUNE_OLDEST = """
WITH old AS (
    SELECT tenant, key FROM cached_answers ORDER BY expires_at LIMIT $1 FOR UPDATE
), pruned AS (
    DELETE FROM cached_answers a USING old WHERE a.tenant = old.tenant AND a.key = old.key RETURNING 1
)
SELECT count(*) FROM pruned
"""
_CLEAR = """
WITH cleared AS (DELETE FROM cached_answers WHERE tenant = $1 RETURNING 1) SELECT count(*) FROM cleared
"""
_COUNT = "SELECT count(*) FROM cached_answers WHERE tenant = $1"


def _answer(row: Record) -> CachedAnswer:
    return CachedAnswer(
        tenant=row["tenant"],
        key=row["key"],
        request_id=row["request_id"],
        arm_id=row["arm_id"],
        body=orjson.loads(row["body"]),
        expires_at=row["expires_at"],
        conversation=None if row["conversation"] is None else _conversation(row["conversation"]),
        question=None if row["scope"] is None else _question(row),
    )


def _question(row: Record) -> Question:
    return Question(row["scope"], row["question"].decode(), from_bytes(row["context"]), row["encoder"])


def _conversation(data: bytes) -> ConversationState:
    state = orjson.loads(data)
    return ConversationState(
        **{
            **state,
            "decision_id": UUID(state["decision_id"]),
            "updated_at": datetime.fromisoformat(state["updated_at"]),
        }
    )
