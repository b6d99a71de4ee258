"""PostgreSQL's time, which replicas share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from service.errors import StoreUnavailable
from service.store.connection.pool import Database

EVERY_S = 60.0


async def follow_time(database: Database, set_to: Callable[[float], None]) -> None:
    """Tell PostgreSQL's time, seconds since 1970, every minute, until cancelled."""
    while True:
        await asyncio.sleep(EVERY_S)
        await tell_time(database, set_to)


async def tell_time(database: Database, set_to: Callable[[float], None]) -> None:
    """Tell PostgreSQL's time, unless it is unavailable."""
    try:
        async with database.connection() as connection:
            asked_at = time.monotonic()
            told = float(await connection.fetchval(_TIME))
            set_to(told + (time.monotonic() - asked_at) / 2)  # half of the round trip is the way back
    except StoreUnavailable:
        return


_TIME = "SELECT extract(epoch FROM clock_timestamp())::float8"
