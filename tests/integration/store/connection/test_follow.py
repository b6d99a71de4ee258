"""What a copy follows, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from service.store.connection.follow import Follower
from service.store.connection.pool import Database


async def test_a_follower_ends_although_a_refresh_swallows_the_cancellation(database: Database) -> None:
    under_way = asyncio.Event()
    n_refreshed = 0

    async def refresh() -> None:
        nonlocal n_refreshed
        n_refreshed += 1
        if n_refreshed == 1:
            return
        under_way.set()
        with suppress(asyncio.CancelledError):  # as a statement on a connection that is lost may do
            await asyncio.Event().wait()

    follower = Follower(database, "changes", refresh, poll_every_s=3600.0)
    await follower.start()
    await under_way.wait()

    await follower.close()

    assert n_refreshed == 2
