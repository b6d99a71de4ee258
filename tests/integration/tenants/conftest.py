"""A database whose owner is no superuser, as on managed PostgreSQL: row security holds for it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from service.store.connection.pool import Database
from tests.integration.postgres_server import Cluster, migrate_database

OWNER = "router_owner"


@pytest.fixture
async def owned_dsn(system_cluster: Cluster) -> str:
    """The DSN of a migrated database, as a user that owns its tables."""
    empty = await system_cluster.empty_database()
    connection = await asyncpg.connect(empty)
    if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", OWNER):
        await connection.execute(f"CREATE ROLE {OWNER} LOGIN")
    await connection.execute(f"ALTER SCHEMA public OWNER TO {OWNER}")
    await connection.close()
    dsn = empty.replace("postgres@", f"{OWNER}@")
    await migrate_database(dsn)
    return dsn


@pytest.fixture
async def owned(owned_dsn: str) -> AsyncIterator[Database]:
    database = Database(owned_dsn, connect_timeout_s=10.0, command_timeout_s=10.0)
    yield database
    await database.close()
