"""The servers and stores that integration tests run on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from service.domain.ports import Reports
from service.store.connection.pool import Database
from service.store.evidence.evidence import PostgresEvidence
from service.store.log.journal import PostgresJournal
from service.store.log.traffic import PostgresReports
from tests.fakes_reports import FakeReports
from tests.fakes_store import FakeEvidence, FakeJournal, FakeStore
from tests.integration.postgres_server import (
    Cluster,
    cluster,
    database,
    dsn,
    embedded_cluster,
    postgres_bin,
    postgres_server,
    system_cluster,
)
from tests.integration.qdrant_server import qdrant_binary, qdrant_server, qdrant_url
from tests.integration.small_disk import small_disk
from tests.integration.stores import Stores

__all__ = [
    "cluster",
    "database",
    "dsn",
    "embedded_cluster",
    "postgres_bin",
    "postgres_server",
    "qdrant_binary",
    "qdrant_server",
    "qdrant_url",
    "small_disk",
    "system_cluster",
]


@pytest.fixture(params=["fake", "embedded", "system"])
async def backing(request: pytest.FixtureRequest) -> AsyncIterator[FakeStore | Database]:
    """The storage of the stores in a contract test."""
    if request.param == "fake":
        yield FakeStore()
        return
    cluster: Cluster = request.getfixturevalue(f"{request.param}_cluster")
    database = Database(await cluster.fresh_database(), connect_timeout_s=10.0, command_timeout_s=10.0)
    yield database
    await database.close()


@pytest.fixture
def stores(backing: FakeStore | Database) -> Stores:
    """A journal that stores texts, with its evidence."""
    if isinstance(backing, FakeStore):
        return Stores(FakeJournal(backing, store_texts=True), FakeEvidence(backing))
    evidence = PostgresEvidence(backing)
    return Stores(PostgresJournal(backing, store_texts=True, snapshot=evidence.snapshot), evidence)


@pytest.fixture
def reports(backing: FakeStore | Database) -> Reports:
    """The reports counted from the log of the stores."""
    return FakeReports(backing) if isinstance(backing, FakeStore) else PostgresReports(backing)
