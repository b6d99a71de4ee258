"""The schema is brought up to date exactly once, by the first replica that starts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest

from service.errors import StartupError, StoreUnavailable
from service.store.connection.migrate import Migration, migrate, packaged_migrations
from service.store.connection.pool import Database
from service.store.log.journal import PostgresJournal
from tests.integration.postgres_server import Cluster
from tests.integration.stores import TENANT, a_decision

PETS = Migration("0001_pets", "CREATE TABLE pets (name text NOT NULL)")
BIRDS = Migration("0002_birds", "CREATE TABLE birds (name text NOT NULL)")


@pytest.fixture
async def empty(cluster: Cluster) -> AsyncIterator[Database]:
    database = Database(await cluster.empty_database(), connect_timeout_s=10.0, command_timeout_s=10.0)
    yield database
    await database.close()


async def test_migrations_are_applied_in_order_and_once(empty: Database) -> None:
    assert await migrate(empty, [PETS]) == ["0001_pets"]

    assert await migrate(empty, [PETS, BIRDS]) == ["0002_birds"]

    assert await migrate(empty, [PETS, BIRDS]) == []


async def test_no_two_packaged_migrations_have_one_number() -> None:
    numbers = [int(migration.name.split("_")[0]) for migration in packaged_migrations()]

    assert numbers == sorted(set(numbers))


async def test_an_edited_migration_is_rejected_in_one_line(empty: Database) -> None:
    await migrate(empty, [PETS])

    with pytest.raises(StartupError, match="0001_pets was edited") as refused:
        await migrate(empty, [replace(PETS, sql="CREATE TABLE pets (name text)")])

    assert "\n" not in str(refused.value)


async def test_a_database_newer_than_the_code_is_rejected(empty: Database) -> None:
    await migrate(empty, [PETS, BIRDS])

    with pytest.raises(StartupError, match="0002_birds"):
        await migrate(empty, [PETS])


async def test_a_failed_migration_changes_nothing(empty: Database) -> None:
    half = Migration("0002_half", "CREATE TABLE half (name text); SELECT 1 / 0")

    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(empty, [PETS, half])

    assert await migrate(empty, [PETS, replace(half, sql="CREATE TABLE half (name text)")]) == ["0002_half"]


async def test_replicas_that_migrate_at_once_apply_each_migration_once(empty: Database) -> None:
    done = await asyncio.gather(*(migrate(empty) for _ in range(4)))

    names = [migration.name for migration in packaged_migrations()]
    assert sorted(name for applied in done for name in applied) == names


async def test_without_the_schema_the_store_is_unavailable(empty: Database) -> None:
    with pytest.raises(StoreUnavailable):
        await PostgresJournal(empty).log_decision(a_decision())


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE decisions SET propensity = 0",
        "UPDATE decisions SET kind = 'guess'",
        "UPDATE decisions SET tenant = NULL",
        "UPDATE decisions SET request_id = repeat('x', 129)",
        "UPDATE decisions SET task = repeat('x', 65)",
        "INSERT INTO memory_queue SELECT decision_id, tenant, 1, now() FROM decisions",
    ],
)
async def test_the_schema_rejects_invalid_values(database: Database, dsn: str, statement: str) -> None:
    await PostgresJournal(database).log_decision(a_decision())
    connection = await asyncpg.connect(dsn)

    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await connection.execute(statement)

    await connection.close()
    assert await PostgresJournal(database).find(TENANT, "r1") is not None
