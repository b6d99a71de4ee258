"""Overload of PostgreSQL's connections, which is no outage, and outages, which are no overload."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from service.errors import StoreBusy, StoreUnavailable
from service.store.connection.pool import Database
from tests.integration.postgres_server import PostgresServer


async def answer(database: Database, sleep_s: float = 0.0) -> int:
    async with database.connection() as connection:
        return int(await connection.fetchval("SELECT 1 FROM pg_sleep($1)", sleep_s))


async def test_calls_wait_in_turn_while_all_connections_are_in_use(postgres_server: PostgresServer) -> None:
    database = Database(postgres_server.dsn, max_connections=1, connect_timeout_s=0.1, busy_timeout_s=60.0)
    await database.ping()

    answers = await asyncio.gather(*[answer(database, 0.05) for _ in range(20)])

    assert answers == [1] * 20
    await database.close()


async def test_a_call_that_waits_too_long_is_told_of_an_overload(postgres_server: PostgresServer) -> None:
    database = Database(
        postgres_server.dsn,
        max_connections=1,
        connect_timeout_s=0.05,
        busy_timeout_s=0.2,
        retry_after_s=3600.0,
    )

    async with database.connection(timeout_s=10.0):
        with pytest.raises(StoreBusy, match="all 1 connections are in use"):
            await answer(database)
        with pytest.raises(StoreBusy):
            await database.ping()

    assert await answer(database) == 1  # the server never counted as unavailable
    await database.close()


async def test_a_statement_that_is_late_while_others_are_answered_is_an_overload(
    postgres_server: PostgresServer,
) -> None:
    database = Database(
        postgres_server.dsn, connect_timeout_s=10.0, command_timeout_s=0.5, retry_after_s=3600.0
    )
    await database.ping()

    async def others() -> None:
        while True:
            await answer(database)
            await asyncio.sleep(0.01)

    answering = asyncio.create_task(others())
    with pytest.raises(StoreBusy, match="while others were answered"):
        await answer(database, 60.0)
    answering.cancel()

    with suppress(asyncio.CancelledError):
        await answering
    assert await answer(database) == 1
    await database.close()


async def test_nobody_waits_for_connections_to_a_server_that_hangs(postgres_server: PostgresServer) -> None:
    database = Database(
        postgres_server.dsn,
        max_connections=1,
        connect_timeout_s=0.1,
        busy_timeout_s=3600.0,
        command_timeout_s=0.5,
        retry_after_s=3600.0,
    )
    await database.ping()
    postgres_server.freeze()
    try:
        failures = await asyncio.gather(*[answer(database) for _ in range(5)], return_exceptions=True)
    finally:
        postgres_server.thaw()

    assert all(isinstance(failure, StoreUnavailable) for failure in failures)
    assert not any(isinstance(failure, StoreBusy) for failure in failures)
    await database.close()


async def test_a_cancelled_wait_loses_no_connection(postgres_server: PostgresServer) -> None:
    database = Database(postgres_server.dsn, max_connections=1, connect_timeout_s=0.05, busy_timeout_s=60.0)
    await database.ping()

    for turns in range(40):
        holding = asyncio.create_task(answer(database, 0.01))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(answer(database))
        for _ in range(turns):  # cancelled in another moment each time
            await asyncio.sleep(0.0005)
        waiting.cancel()
        await asyncio.gather(holding, waiting, return_exceptions=True)

    assert await answer(database) == 1
    await database.close()


async def test_a_connection_that_the_server_closed_meanwhile_is_replaced(
    postgres_server: PostgresServer,
) -> None:
    database = Database(postgres_server.dsn, connect_timeout_s=10.0, retry_after_s=3600.0)
    await asyncio.gather(*[answer(database, 0.05) for _ in range(4)])
    await asyncio.to_thread(postgres_server.stop)
    await asyncio.to_thread(postgres_server.start)

    assert await asyncio.gather(*[answer(database) for _ in range(4)]) == [1] * 4
    await database.close()
