"""Connections to PostgreSQL: bounded waits, translated errors, and fast failure while it is unavailable."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal, TypeAlias

import asyncpg
import orjson
import structlog
from asyncpg.pool import PoolConnectionProxy

from service.domain.local_faults import local_fault
from service.errors import StoreBusy, StoreUnavailable

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
    asyncpg.UndefinedFunctionError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.InternalServerError,
    asyncpg.PostgresSystemError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


CONNECT_S = 3.0  # enough for round trips of 300 ms
BUSY_S = 5.0
STATEMENT_S = 2.0
_LATELY_S = 0.5  # what happened since then still says how the server is
_MOST_KEPT = 2  # connections
_LONGEST_TURN_S = 30.0  # longer than any statement of a request, and of few others
_KEPT_S = 300.0  # as in the pool: what lies between may forget a connection that is idle for long


class Database:
    """A pool that opens connections on demand, so that it can be created while PostgreSQL is unavailable.

    After a failure one call at a time tests whether the server answers; all others fail at once. A call that
    finds no time while others are answered is no failure of the server, but an overload.

    Args:
        connect_timeout_s: longest wait for a new connection, which takes several round trips.
        busy_timeout_s: longest wait for a connection while others use them all.
        command_timeout_s: limit of one statement.
        retry_after_s: how long calls fail at once after a failure.
        statement_cache_size: must be 0 behind a pgbouncer that pools transactions.
    """

    def __init__(
        self,
        dsn: str,
        *,
        max_connections: int = 10,
        connect_timeout_s: float = CONNECT_S,
        busy_timeout_s: float = BUSY_S,
        command_timeout_s: float = STATEMENT_S,
        retry_after_s: float = 0.5,
        statement_cache_size: int = 100,
    ) -> None:
        self._dsn = dsn
        self._max_connections = max_connections
        self._connect_timeout_s = connect_timeout_s
        self._busy_timeout_s = busy_timeout_s
        self._command_timeout_s = command_timeout_s
        self._retry_after_s = retry_after_s
        self._statement_cache_size = statement_cache_size
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._opening = asyncio.Lock()
        self._failed = False
        self._retry_at = 0.0
        self._failed_at = -math.inf
        self._answered_at = -math.inf  # when the last call ended well
        self._releasing: set[asyncio.Future[None]] = set()  # keeps the tasks alive
        # Idle, but not returned to the pool, and since when.
        self._kept: list[tuple[Connection, float]] = []
        self._n_waiting = 0  # calls that wait for a connection of the pool

    @asynccontextmanager
    async def connection(
        self, *, timeout_s: float | None = None, waits_in_turn: bool = False
    ) -> AsyncIterator[Connection]:
        """A connection for some statements. Raises StoreUnavailable.

        Args:
            timeout_s: longest wait for it, for work outside requests; pass it to their statements too.
            waits_in_turn: whether it is waited for, within half a minute, as long as others use all
                connections, whose statements have their own limits.
        """
        self._admit()
        try:
            pool = await self._open()
            connection = self._kept_open() or await self._acquired(
                pool,
                timeout_s or self._connect_timeout_s,
                _LONGEST_TURN_S if waits_in_turn else timeout_s or self._busy_timeout_s,
            )
            try:
                yield connection
            except BaseException:
                await pool.release(connection)
                raise
            await self._give_back_or_keep(pool, connection)
        except asyncio.CancelledError:
            self._retry_at = 0.0  # the server was not tested
            raise
        except StoreUnavailable:  # no connection in time: nothing is known of the server
            raise
        except Exception as error:
            if isinstance(error, TimeoutError) and self._answers_others():
                raise _busy("a statement took too long while others were answered") from error
            if (missing := local_fault(error)) is not None:
                raise _busy(f"the router has no connection to PostgreSQL: {missing}") from error
            self._failed = _is_unavailable(error)
            if self._failed:
                self._failed_at = time.monotonic()
                self._retry_at = time.monotonic() + self._retry_after_s
                await self._expire_connections()
                raise _unavailable(error) from error
            if isinstance(
                error, asyncpg.TransactionRollbackError
            ):  # the server answers, but the transaction must be retried
                raise _unavailable(error) from error
            raise
        self._failed = False
        self._answered_at = time.monotonic()

    async def _acquired(
        self, pool: asyncpg.Pool[asyncpg.Record], timeout_s: float, busy_timeout_s: float
    ) -> Connection:
        """A connection: one that is idle or new, or the next that another call returns."""
        self._n_waiting += 1
        try:
            if not self._is_exhausted(pool):
                try:
                    return await pool.acquire(timeout=timeout_s)
                except TimeoutError:
                    if not (self._is_exhausted(pool) or self._answers_others()):
                        raise
            return await self._returned(pool, busy_timeout_s)
        finally:
            self._n_waiting -= 1

    def _kept_open(self) -> Connection | None:
        """A kept connection that the server has not closed; None: there is none."""
        while self._kept:
            connection, since = self._kept.pop()
            if _is_open(connection):
                if time.monotonic() - since < _KEPT_S:
                    return connection
                connection.terminate()
        return None

    async def _give_back_or_keep(self, pool: asyncpg.Pool[asyncpg.Record], connection: Connection) -> None:
        """Keep a few connections for the next calls: for the pool, tasks return and give them."""
        if self._n_waiting or len(self._kept) >= _MOST_KEPT or not _is_open(connection):
            await pool.release(connection)
        else:
            self._kept.append((connection, time.monotonic()))

    async def _give_back_kept(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        while self._kept:
            await pool.release(self._kept.pop()[0])

    def _answers_others(self) -> bool:
        """Whether another call was answered a moment ago, so that a time-out is no failure of the server."""
        return time.monotonic() - self._answered_at < _LATELY_S

    def _is_exhausted(self, pool: asyncpg.Pool[asyncpg.Record]) -> bool:
        return pool.get_size() == self._max_connections and pool.get_idle_size() == 0

    async def _returned(self, pool: asyncpg.Pool[asyncpg.Record], timeout_s: float) -> Connection:
        """The next connection that another call returns.

        Those calls see whether the server still answers; if it does not, nobody waits on.

        Raises:
            StoreBusy: none was returned in time.
        """
        acquiring = asyncio.ensure_future(pool.acquire(timeout=timeout_s))
        try:
            while not (await asyncio.wait({acquiring}, timeout=_LATELY_S))[0]:
                if self._failed:
                    raise StoreUnavailable("PostgreSQL did not answer a moment ago")
            return acquiring.result()
        except TimeoutError as error:
            raise _busy(f"all {self._max_connections} connections are in use") from error
        except BaseException:  # also cancelled: the connection may come in this very moment
            acquiring.cancel()
            acquiring.add_done_callback(lambda done: self._give_back(pool, done))
            raise

    def _give_back(self, pool: asyncpg.Pool[asyncpg.Record], acquired: asyncio.Future[Connection]) -> None:
        """Return a connection that nobody waits for any more."""
        if not acquired.cancelled() and acquired.exception() is None:
            releasing = asyncio.ensure_future(pool.release(acquired.result()))
            self._releasing.add(releasing)
            releasing.add_done_callback(self._releasing.discard)

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

    @asynccontextmanager
    async def as_tenant(
        self, tenant: str, *, timeout_s: float | None = None, readonly: bool = False
    ) -> AsyncIterator[Connection]:
        """A connection in a transaction that sees and writes rows of this tenant only; see `connection`."""
        async with (
            self.connection(timeout_s=timeout_s) as connection,
            connection.transaction(readonly=readonly),
        ):
            await connection.execute(_AS_TENANT, tenant)
            yield connection

    async def listen(
        self, channel: str, notify: Callable[[], None], *, ignored: str | None = None
    ) -> asyncpg.Connection[asyncpg.Record]:
        """Call `notify` at each notification, and when the connection is lost; the calling code closes it.

        Notifications with the payload `ignored` call nothing. Raises StoreUnavailable.
        """

        def notified(_connection: object, _pid: int, _channel: str, payload: object) -> None:
            if payload != ignored:
                notify()

        try:
            connection = await asyncpg.connect(
                self._dsn, timeout=self._connect_timeout_s, command_timeout=self._command_timeout_s
            )
            connection.add_termination_listener(lambda *_: notify())
            await connection.add_listener(channel, notified)
        except _UNAVAILABLE as error:
            raise _unavailable(error) from error
        return connection

    async def ping(self) -> None:
        """Raises StoreUnavailable if PostgreSQL does not answer, and StoreBusy if it only has no time."""
        async with self.connection() as connection:
            await connection.fetchval("SELECT 1")

    def was_away_within(self, seconds: float) -> bool:
        """Whether PostgreSQL did not answer a call of this process in that time."""
        return time.monotonic() - self._failed_at < seconds

    async def close(self) -> None:
        if self._pool is None:
            return
        try:
            async with asyncio.timeout(self._command_timeout_s):
                await self._give_back_kept(self._pool)
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
                await self._give_back_kept(self._pool)

    def _admit(self) -> None:
        if not self._failed:
            return
        now = time.monotonic()
        if now < self._retry_at:
            raise StoreUnavailable("PostgreSQL did not answer a moment ago")
        self._retry_at = now + self._connect_timeout_s + self._command_timeout_s  # this call tests the server


# Until the end of the transaction; migration 0041 says what it does.
_AS_TENANT = "SELECT set_config('router.tenant', $1, true)"


def _is_open(connection: Connection) -> bool:
    try:
        return not connection.is_closed()
    except asyncpg.InterfaceError:  # the pool has taken it back, since the server closed it
        return False


def _is_unavailable(error: Exception) -> bool:
    return isinstance(error, _UNAVAILABLE) and not isinstance(error, ValueError)  # a ValueError is our bug


def _unavailable(error: Exception) -> StoreUnavailable:
    log.warning("postgresql_unavailable", error=type(error).__name__, message=str(error))
    return StoreUnavailable(f"PostgreSQL does not answer ({type(error).__name__})")


def _busy(why: str) -> StoreBusy:
    log.warning("postgresql_busy", message=why)
    return StoreBusy(f"the router is overloaded: {why}")


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
