"""The keys of callers in PostgreSQL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from asyncpg import Record

from service.domain.api_key import ApiKey
from service.domain.limit import Limit, Subject
from service.store.connection.follow import Follower
from service.store.connection.pool import Connection, Database

CHANNEL = "api_keys"


class PostgresApiKeyStore:
    """An ApiKeyStore."""

    def __init__(self, database: Database, *, poll_every_s: float = 10.0) -> None:
        self._database = database
        self._poll_every_s = poll_every_s
        self._follower: Follower | None = None
        self._seen_until = 0  # as in PostgresEvidence

    async def start(self, follow: Callable[[], Awaitable[None]]) -> None:
        self._follower = Follower(self._database, CHANNEL, follow, poll_every_s=self._poll_every_s)
        await self._follower.start()

    async def close(self) -> None:
        if self._follower is not None:
            await self._follower.close()

    async def changed(self) -> Sequence[ApiKey]:
        async with self._database.connection() as connection:
            rows = await connection.fetch(_CHANGED, self._seen_until)
        self._seen_until = rows[0]["seen_until"]
        return [_key(row) for row in rows if row["key_id"] is not None]

    async def all(self) -> Sequence[ApiKey]:
        async with self._database.connection() as connection:
            return [_key(row) for row in await connection.fetch(_ALL)]

    async def add(self, key: ApiKey) -> None:
        models = None if key.models is None else sorted(key.models)
        async with self._database.transaction() as connection:
            await connection.execute(
                _ADD,
                key.key_id,
                key.name,
                key.tenant,
                sorted(key.scopes),
                models,
                key.digest,
                key.secret_id,
                key.created_at,
                key.expires_at,
                key.replaces,
            )
            if key.limits:
                await _add_limits(connection, key.key_id, key.limits)

    async def put_limits(self, key_id: UUID, limits: Sequence[Limit]) -> None:
        async with self._database.transaction() as connection:
            await connection.execute(_DROP_LIMITS, key_id)
            await _add_limits(connection, key_id, limits)
            await connection.execute(_TOUCH, key_id)

    async def end(self, key_id: UUID, *, revoked_at: datetime | None, expires_at: datetime | None) -> None:
        async with self._database.transaction() as connection:
            await connection.execute(_END, key_id, revoked_at, expires_at)

    async def note_uses(self, used_at: Mapping[UUID, datetime]) -> None:
        async with self._database.connection() as connection:
            await connection.execute(_NOTE_USES, list(used_at), list(used_at.values()))


_COLUMNS = """
    k.key_id, k.name, k.tenant, k.scopes, k.models, k.digest, k.secret_id, k.created_at, k.expires_at,
    k.revoked_at, k.last_used_at, k.replaces, (
        SELECT jsonb_agg(
            jsonb_build_array(coalesce(l.counted_as, l.key_id), l.measure, l.period, l.most::text)
            ORDER BY l.measure, l.period
        )
        FROM key_limits l WHERE l.key_id = k.key_id
    ) AS limits
"""

_DROP_LIMITS = "DELETE FROM key_limits WHERE key_id = $1"
_ADD_LIMIT = """
INSERT INTO key_limits (key_id, measure, period, most, counted_as) VALUES ($1, $2, $3, $4, $5)
"""

# At least one row, with the oldest transaction still running, as in `evidence.py`.
_CHANGED = f"""
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS seen_until, {_COLUMNS}
FROM (VALUES (1)) AS always (one)
LEFT JOIN api_keys k ON k.changed_in >= $1::bigint::text::xid8
"""  # noqa: S608  # constants only

_ALL = f"SELECT {_COLUMNS} FROM api_keys k ORDER BY k.created_at DESC, k.key_id"  # noqa: S608  # as above

_ADD = """
INSERT INTO api_keys
    (key_id, name, tenant, scopes, models, digest, secret_id, created_at, expires_at, replaces)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
RETURNING pg_notify('api_keys', '')
"""

# Nothing makes a key live longer than it would.
_END = """
UPDATE api_keys
SET revoked_at = coalesce(revoked_at, $2), expires_at = least(expires_at, $3),
    changed_in = pg_current_xact_id()
WHERE key_id = $1
RETURNING pg_notify('api_keys', '')
"""

_TOUCH = """
UPDATE api_keys SET changed_in = pg_current_xact_id() WHERE key_id = $1
RETURNING pg_notify('api_keys', '')
"""

# This is no change that replicas follow.
_NOTE_USES = """
UPDATE api_keys k SET last_used_at = greatest(k.last_used_at, u.used_at)
FROM unnest($1::uuid[], $2::timestamptz[]) AS u (key_id, used_at)
WHERE k.key_id = u.key_id
"""


async def _add_limits(connection: Connection, key_id: UUID, limits: Sequence[Limit]) -> None:
    rows = [(key_id, x.measure, x.period, x.most, UUID(x.subject.name)) for x in limits]
    await connection.executemany(_ADD_LIMIT, rows)


def _key(row: Record) -> ApiKey:
    return ApiKey(
        key_id=row["key_id"],
        name=row["name"],
        tenant=row["tenant"],
        scopes=frozenset(row["scopes"]),
        models=None if row["models"] is None else frozenset(row["models"]),
        digest=row["digest"],
        secret_id=row["secret_id"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
        replaces=row["replaces"],
        limits=tuple(
            Limit(Subject("key", counted_as), measure, period, Decimal(most))
            for counted_as, measure, period, most in row["limits"] or ()
        ),
    )
