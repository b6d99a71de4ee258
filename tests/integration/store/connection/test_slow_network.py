"""A slow way to PostgreSQL is slow, and no outage; a dead one is an outage."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from service.errors import StoreBusy, StoreUnavailable
from service.store.connection.pool import Database
from service.store.log.journal import PostgresJournal
from service.store.spool.spool import Spool
from service.store.spool.spooling_journal import SpoolingJournal
from tests.integration.postgres_server import PostgresServer, migrate_database
from tests.integration.stores import TENANT, a_decision, an_attempt, an_outcome
from tests.slow_network import slow_network

MEGABYTE = 1_000_000


@pytest.mark.parametrize("round_trip_ms", [30, 70, 110, 300])
async def test_a_slow_postgresql_takes_every_decision_itself(
    postgres_server: PostgresServer, tmp_path: Path, round_trip_ms: int
) -> None:
    await migrate_database(postgres_server.dsn)
    async with slow_network(postgres_server.socket, round_trip_ms / 1000) as network:
        # On a busy machine the default time-outs would measure the machine too.
        database = Database(network.dsn(), connect_timeout_s=30.0, command_timeout_s=30.0)
        journal = SpoolingJournal(PostgresJournal(database), Spool(tmp_path, MEGABYTE))
        await journal.start()
        decisions = [a_decision(f"r{number}") for number in range(20)]

        await asyncio.gather(
            *(journal.log_answer(d, an_outcome(d), [an_attempt(d)]) for d in decisions), database.ping()
        )

        assert (journal.writing.as_json()["failures_since"], journal.n_spooled) == (0, 0)
        found = await asyncio.gather(*(journal.find(TENANT, d.query.request_id) for d in decisions))
        assert all(found)
        await journal.close()
        await database.close()


async def test_to_connect_may_take_longer_than_to_ask(postgres_server: PostgresServer) -> None:
    async with slow_network(postgres_server.socket, 0.3) as network:
        database = Database(network.dsn(), connect_timeout_s=0.5)
        with pytest.raises(StoreUnavailable):
            await database.ping()
        await database.close()

        database = Database(network.dsn(), connect_timeout_s=30.0)
        await database.ping()
        await database.close()


async def test_a_dead_link_is_an_outage_until_it_works_again(postgres_server: PostgresServer) -> None:
    async with slow_network(postgres_server.socket, 0.03) as network:
        database = Database(network.dsn(), connect_timeout_s=30.0, command_timeout_s=0.5, retry_after_s=0.0)
        await database.ping()
        network.is_cut = True

        with pytest.raises(StoreUnavailable) as failure:
            await database.ping()

        assert not isinstance(failure.value, StoreBusy)
        network.is_cut = False
        async with asyncio.timeout(60):
            while True:
                try:
                    await database.ping()
                    break
                except StoreUnavailable:
                    await asyncio.sleep(0.05)
        await database.close()
