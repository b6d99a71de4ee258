"""Connections to PostgreSQL: bounded waits, translated errors, and fast failure while it is unavailable."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal, TypeAlias

import asyncpg
import orjson
import structlog
from asyncpg.pool import PoolConnectionProxy

from service.errors import StoreUnavailable

log = structlog.get_logger(__name__)

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"  # generic in its stubs only

# Errors that may pass: the server is down, restarting, full, broken, or not migrated yet.
_UNAVAILABLE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.InternalServerError,
    asyncpg.PostgresSystemError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


class Database:
    """A pool that opens connections on demand, so that it can be created while PostgreSQL is unavailable.

    After a failure one call at a time tests whether the server answers; all others fail at once.

    Args:
        acquire_timeout_s: longest wait for a connection, including the time to connect.
        command_timeout_s: limit of one statement.
        retry_after_s: how long calls fail at once after a failure.
        statement_cache_size: must be 0 behind a pgbouncer that pools transactions.
    """

    def __init__(
        self,
        dsn: str,
        *,
        max_connections: int = 10,
        acquire_timeout_s: float = 0.5,
        command_timeout_s: float = 2.0,
        retry_after_s: float = 0.5,
        statement_cache_size: int = 100,
    ) -> None:
        self._dsn = dsn
        self._max_connections = max_connections
        self._acquire_timeout_s = acquire_timeout_s
        self._command_timeout_s = command_timeout_s
        self._retry_after_s = retry_after_s
        self._statement_cache_size = statement_cache_size
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._opening = asyncio.Lock()
        self._failed = False
        self._retry_at = 0.0

    @asynccontextmanager
    async def connection(self, *, timeout_s: float | None = None) -> AsyncIterator[Connection]:
        """A connection for some statements. Raises StoreUnavailable.

        Args:
            timeout_s: longest wait for it, for work outside requests; pass it to their statements too.
        """
        self._admit()
        try:
            pool = await self._open()
            connection = await self._acquired(pool, timeout_s or self._acquire_timeout_s)
            try:
                yield connection
            finally:
                await pool.release(connection)
        except asyncio.CancelledError:
            self._retry_at = 0.0  # the server was not tested
            raise
        except Exception as error:
            self._failed = _is_unavailable(error)
            if self._failed:
                self._retry_at = time.monotonic() + self._retry_after_s
                await self._expire_connections()
                raise _unavailable(error) from error
            if isinstance(
                error, asyncpg.TransactionRollbackError
            ):  # the server answers, but the transaction must be retried
                raise _unavailable(error) from error
            raise
        self._failed = False

    async def _acquired(self, pool: asyncpg.Pool[asyncpg.Record], timeout_s: float) -> Connection:
        try:
            return await pool.acquire(timeout=timeout_s)
        except TimeoutError as error:
            if pool.get_size() == self._max_connections and pool.get_idle_size() == 0:
                # All connections are busy: their users will see whether the server still answers.
                raise StoreUnavailable(f"all {self._max_connections} connections are in use") from error
            raise

    @asynccontextmanager
    async def transaction(
        self, *, timeout_s: float | None = None, at_one_moment: bool = False
    ) -> AsyncIterator[Connection]:
        """A connection in one transaction, committed at the end of the block.

        Args:
            at_one_moment: whether all its statements see the tables as of the first statement.
        """
        isolation: Literal["repeatable_read", "read_committed"] = (
            "repeatable_read" if at_one_moment else "read_committed"
        )
        async with (
            self.connection(timeout_s=timeout_s) as connection,
            connection.transaction(isolation=isolation),
        ):
            yield connection

    async def listen(self, channel: str, notify: Callable[[], None]) -> asyncpg.Connection[asyncpg.Record]:
        """Call `notify` at each notification, and when the connection is lost; the calling code closes it.

        Raises StoreUnavailable.
        """
        try:
            connection = await asyncpg.connect(
                self._dsn, timeout=self._command_timeout_s, command_timeout=self._command_timeout_s
            )
            connection.add_termination_listener(lambda *_: notify())
            await connection.add_listener(channel, lambda *_: notify())
        except _UNAVAILABLE as error:
            raise _unavailable(error) from error
        return connection

    async def ping(self) -> None:
        """Raises StoreUnavailable if PostgreSQL does not answer."""
        async with self.connection() as connection:
            await connection.fetchval("SELECT 1")

    async def close(self) -> None:
        if self._pool is None:
            return
        try:
            async with asyncio.timeout(self._command_timeout_s):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    async def _open(self) -> asyncpg.Pool[asyncpg.Record]:
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._dsn,
                    min_size=0,
                    max_size=self._max_connections,
                    command_timeout=self._command_timeout_s,
                    statement_cache_size=self._statement_cache_size,
                    init=_use_orjson,
                    reset=_no_reset,
                )
            return self._pool

    async def _expire_connections(self) -> None:
        """Replace the other connections too, which are most likely lost."""
        if self._pool is not None:
            with suppress(asyncpg.InterfaceError):  # the pool is being closed
                await self._pool.expire_connections()

    def _admit(self) -> None:
        if not self._failed:
            return
        now = time.monotonic()
        if now < self._retry_at:
            raise StoreUnavailable("PostgreSQL did not answer a moment ago")
        self._retry_at = now + self._acquire_timeout_s + self._command_timeout_s  # this call tests the server


def _is_unavailable(error: Exception) -> bool:
    return isinstance(error, _UNAVAILABLE) and not isinstance(error, ValueError)  # a ValueError is our bug


def _unavailable(error: Exception) -> StoreUnavailable:
    log.warning("postgresql_unavailable", error=type(error).__name__, message=str(error))
    return StoreUnavailable(f"PostgreSQL does not answer ({type(error).__name__})")


async def _use_orjson(connection: Any) -> None:
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda value: b"\x01" + orjson.dumps(value),  # the first byte is the format's version
        decoder=lambda data: orjson.loads(data[1:]),
        format="binary",
    )


async def _no_reset(connection: Any) -> None:
    """Skip the reset of a returned connection: nothing sets session state, and a reset is a round trip."""
