"""Follow the changes of other replicas: refresh after every notification, and at a fixed interval."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import asyncpg
import structlog
from asyncpg import Record

from service.errors import StoreUnavailable
from service.store.connection.pool import Database

log = structlog.get_logger(__name__)


class Follower:
    """Keeps a copy up to date between `start` and `close`.

    Args:
        channel: the `pg_notify` channel that announces changes.
        refresh: updates the copy; StoreUnavailable leaves it as it is.
        poll_every_s: longest time between refreshes, in case a notification was missed.
        ignored: the payload of notifications that announce this process's own changes.
    """

    def __init__(
        self,
        database: Database,
        channel: str,
        refresh: Callable[[], Awaitable[None]],
        *,
        poll_every_s: float,
        ignored: str | None = None,
    ) -> None:
        self._database = database
        self._channel = channel
        self._refresh = refresh
        self._poll_every_s = poll_every_s
        self._ignored = ignored
        self._notified = asyncio.Event()
        self._following: asyncio.Task[None] | None = None
        self._is_closed = False

    async def start(self) -> None:
        """Load the copy and keep it up to date. Without PostgreSQL it loads once that is available."""
        try:
            await self._refresh()
        except StoreUnavailable:
            log.warning("snapshot_not_loaded", channel=self._channel)
        self._following = asyncio.create_task(self._follow(), name=self._channel)

    async def close(self) -> None:
        if self._following is None:
            return
        self._is_closed = True  # a statement on a connection that is lost may swallow the cancellation
        self._notified.set()
        self._following.cancel()
        with suppress(asyncio.CancelledError):
            await self._following

    async def _follow(self) -> None:
        listening: asyncpg.Connection[Record] | None = None
        try:
            while not self._is_closed:
                self._notified.clear()
                try:
                    if listening is None or listening.is_closed():
                        listening = await self._database.listen(
                            self._channel, self._notified.set, ignored=self._ignored
                        )
                    await self._refresh()
                except StoreUnavailable:
                    pass  # the pool has logged it; the copy stays as it is
                except Exception:
                    log.exception("snapshot_not_refreshed", channel=self._channel)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_every_s):  # wait_for may swallow a cancellation
                        await self._notified.wait()
        finally:
            if listening is not None:
                listening.terminate()
