"""The stored bodies of users' requests, from which `router calibrate --from-log` chooses its prompts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import orjson
import structlog
from asyncpg import Record

from service.domain.basics import Json
from service.domain.logged_request import LoggedRequest
from service.domain.ports import Clock
from service.domain.query import Query
from service.errors import StoreUnavailable
from service.store.connection.pool import Database
from service.store.connection.values import from_bytes

log = structlog.get_logger(__name__)

IMPORTED = "import"  # the dialect of imported rows
MAX_BODY_BYTES = 256 * 1024  # of a stored body; most larger ones are files
PRUNE_EVERY_S = 60.0
_PRUNE_BATCH = 100  # one batch locks few rows, and its texts are deleted in little time


def body_to_store(query: Query) -> str | None:
    """The body of a user's request as JSON; None: it cannot be asked again, or must not be."""
    if not query.body or not _can_be_repeated(query) or not _may_be_repeated(query):
        return None
    body = orjson.dumps(query.body)
    return body.decode() if len(body) <= MAX_BODY_BYTES else None


def _can_be_repeated(query: Query) -> bool:
    """Whether the body alone is a user's question in words.

    A request within a tool loop asks nothing new, a thread lacks its earlier messages, and what only
    Anthropic understands is not in the body.
    """
    turn = query.turn
    has_all = not turn.continues_thread and not (query.native and query.native.needs)
    is_question = turn.side_call is None and not turn.in_tool_loop and bool(query.text.strip())
    return query.dialect != IMPORTED and is_question and has_all


def _may_be_repeated(query: Query) -> bool:
    """Whether the client lets the router keep the request and show it to every model."""
    options, store = query.options, (query.body.get("store"), query.form.get("store"))
    is_restricted = options.models is not None or options.exclude or options.require_data_use
    return options.learn and not is_restricted and not any(kept is False for kept in store)


class PostgresRequestBodies:
    """Reads the requests that have a stored body, and deletes old bodies. Raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def newest(
        self, tenant: str, since: datetime, until: datetime, limit: int
    ) -> Sequence[LoggedRequest]:
        """The tenant's newest answered requests of [since, until), the newest first.

        Requests that the answer cache answered are left out, as are imported ones, which have no body.
        """
        async with self._database.as_tenant(tenant) as connection:
            rows = await connection.fetch(_NEWEST, tenant, since, until, limit)
        return [_request(row) for row in rows]

    async def bodies(self, tenant: str, decision_ids: Sequence[UUID]) -> Mapping[UUID, Json]:
        """The stored bodies of these decisions of the tenant."""
        async with self._database.as_tenant(tenant) as connection:
            rows = await connection.fetch(_BODIES, tenant, list(decision_ids))
        return {row["decision_id"]: orjson.loads(row["body"]) for row in rows}

    async def prune(self, before: datetime) -> int:
        """Delete the bodies that were stored before; returns how many."""
        pruned = 0
        async with self._database.connection() as connection:
            while n := await connection.fetchval(_PRUNE, before, _PRUNE_BATCH):
                pruned += n
        return pruned

    async def prune_forever(self, clock: Clock, ttl_s: float) -> None:
        """Delete bodies that are older than their time, every minute, until cancelled."""
        while True:
            await asyncio.sleep(PRUNE_EVERY_S)
            try:
                await self.prune(clock() - timedelta(seconds=ttl_s))
            except StoreUnavailable as error:
                log.debug("request_bodies_not_pruned", error=str(error))
            except Exception:
                log.exception("request_bodies_not_pruned")


# The condition on the dialect is written as in the index.
_NEWEST = """
SELECT d.decision_id, d.decided_at, d.body_digest, coalesce(d.query_text, '') AS query_text, d.task,
    d.encoder, d.context
FROM decisions d
JOIN request_bodies b ON b.decision_id = d.decision_id
JOIN outcomes o ON o.decision_id = d.decision_id
WHERE d.tenant = $1 AND d.decided_at >= $2 AND d.decided_at < $3 AND d.dialect <> 'import'
    AND d.kind <> 'cache' AND o.kind <> 'cache' AND o.status = 'ok'
ORDER BY d.decided_at DESC, d.decision_id
LIMIT $4
"""

_BODIES = """
SELECT b.decision_id, b.body
FROM request_bodies b
JOIN decisions d ON d.decision_id = b.decision_id
WHERE d.tenant = $1 AND b.decision_id = ANY($2)
"""

_PRUNE = """
WITH old AS (
    SELECT decision_id FROM request_bodies WHERE stored_at < $1 ORDER BY stored_at LIMIT $2
    FOR UPDATE SKIP LOCKED
), pruned AS (
    DELETE FROM request_bodies b USING old WHERE b.decision_id = old.decision_id RETURNING 1
)
SELECT count(*) FROM pruned
"""


def _request(row: Record) -> LoggedRequest:
    return LoggedRequest(
        decision_id=row["decision_id"],
        decided_at=row["decided_at"],
        body_digest=row["body_digest"],
        text=row["query_text"],
        task=row["task"],
        encoder=row["encoder"],
        context=None if row["context"] is None else from_bytes(row["context"]),
    )
