"""Logins at providers: sealed tokens and begun logins in PostgreSQL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from uuid import UUID

from service.domain.oauth import PendingLogin, SealedTokens
from service.store.connection.follow import Follower
from service.store.connection.pool import Database

CHANNEL = "oauth_tokens"
MOST_PENDING = 1_000  # begun logins; the oldest are forgotten


class PostgresTokenStore:
    """A TokenStore."""

    def __init__(self, database: Database, *, poll_every_s: float = 10.0) -> None:
        self._database = database
        self._poll_every_s = poll_every_s
        self._follower: Follower | None = None

    async def start(self, follow: Callable[[], Awaitable[None]]) -> None:
        self._follower = Follower(self._database, CHANNEL, follow, poll_every_s=self._poll_every_s)
        await self._follower.start()

    async def close(self) -> None:
        if self._follower is not None:
            await self._follower.close()

    async def tokens(self) -> Mapping[str, SealedTokens]:
        async with self._database.connection() as connection:
            return {row["provider"]: SealedTokens(**row) for row in await connection.fetch(_TOKENS)}

    async def put(self, tokens: SealedTokens, *, instead_of: UUID | None = None) -> bool:
        values = (tokens.provider, tokens.sealed, tokens.version, tokens.obtained_at)
        async with self._database.transaction() as connection:
            if instead_of is None:
                return await connection.fetchrow(_PUT, *values) is not None
            return await connection.fetchrow(_REPLACE, *values, instead_of) is not None

    async def lease(self, provider: str, version: UUID, holder: UUID, seconds: float) -> bool:
        async with self._database.connection() as connection:
            return await connection.fetchrow(_LEASE, provider, version, holder, seconds) is not None

    async def release(self, provider: str, holder: UUID) -> None:
        async with self._database.connection() as connection:
            await connection.execute(_RELEASE, provider, holder)

    async def fail(self, provider: str, version: UUID, problem: str) -> None:
        async with self._database.connection() as connection:
            await connection.execute(_FAIL, provider, version, problem)

    async def delete(self, provider: str) -> None:
        async with self._database.connection() as connection:
            await connection.execute(_DELETE, provider)

    async def begin(self, state_digest: bytes, login: PendingLogin, now: datetime) -> None:
        async with self._database.transaction() as connection:
            await connection.execute(_FORGET, now, MOST_PENDING)
            await connection.execute(_BEGIN, state_digest, login.provider, login.sealed, login.expires_at)

    async def claim(self, state_digest: bytes) -> PendingLogin | None:
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_CLAIM, state_digest)
        return None if row is None else PendingLogin(**row)


_TOKENS = "SELECT provider, sealed, version, obtained_at, problem FROM oauth_tokens"

_PUT = """
INSERT INTO oauth_tokens (provider, sealed, version, obtained_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (provider) DO UPDATE SET
    sealed = excluded.sealed, version = excluded.version, obtained_at = excluded.obtained_at,
    problem = NULL, leased_by = NULL, leased_until = NULL
RETURNING pg_notify('oauth_tokens', '')
"""

_REPLACE = """
UPDATE oauth_tokens
SET sealed = $2, version = $3, obtained_at = $4, problem = NULL, leased_by = NULL, leased_until = NULL
WHERE provider = $1 AND version = $5
RETURNING pg_notify('oauth_tokens', '')
"""

# By the clock of the server, so that the clocks of replicas need not agree.
_LEASE = """
UPDATE oauth_tokens SET leased_by = $3, leased_until = now() + make_interval(secs => $4)
WHERE provider = $1 AND version = $2 AND problem IS NULL
    AND (leased_until IS NULL OR leased_until < now() OR leased_by = $3)
RETURNING version
"""

_RELEASE = """
UPDATE oauth_tokens SET leased_by = NULL, leased_until = NULL WHERE provider = $1 AND leased_by = $2
RETURNING pg_notify('oauth_tokens', '')
"""

_FAIL = """
UPDATE oauth_tokens SET problem = $3, leased_by = NULL, leased_until = NULL
WHERE provider = $1 AND version = $2
RETURNING pg_notify('oauth_tokens', '')
"""

_DELETE = "DELETE FROM oauth_tokens WHERE provider = $1 RETURNING pg_notify('oauth_tokens', '')"

_FORGET = """
DELETE FROM oauth_logins
WHERE expires_at <= $1 OR state_digest IN (
    SELECT state_digest FROM oauth_logins ORDER BY expires_at DESC OFFSET $2
)
"""

_BEGIN = "INSERT INTO oauth_logins (state_digest, provider, sealed, expires_at) VALUES ($1, $2, $3, $4)"

_CLAIM = "DELETE FROM oauth_logins WHERE state_digest = $1 RETURNING provider, sealed, expires_at"
