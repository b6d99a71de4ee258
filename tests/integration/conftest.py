"""The servers and stores that integration tests run on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from service.store.evidence import PostgresEvidence
from service.store.journal import PostgresJournal
from service.store.pool import Database
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
    "system_cluster",
]


@pytest.fixture(params=["fake", "embedded", "system"])
async def stores(request: pytest.FixtureRequest) -> AsyncIterator[Stores]:
    """A journal that stores texts and its evidence, held to one contract."""
    if request.param == "fake":
        store = FakeStore()
        yield Stores(FakeJournal(store, store_texts=True), FakeEvidence(store))
        return
    cluster: Cluster = request.getfixturevalue(f"{request.param}_cluster")
    database = Database(await cluster.fresh_database(), acquire_timeout_s=10.0, command_timeout_s=10.0)
    evidence = PostgresEvidence(database)
    yield Stores(PostgresJournal(database, store_texts=True, snapshot=evidence.snapshot), evidence)
    await database.close()
