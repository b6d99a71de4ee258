"""Several databases on one Qdrant server, or in one folder: each has a memory of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient

from embeddings.inline import InlineEncoder
from service.bootstrap.memory import fill_memory, open_memory
from service.commands.jobs.reconcile import reconcile
from service.domain.ports import Memory
from service.errors import MemoryUnavailable
from service.learning.learner import Learner
from service.learning.rewards import reward_of
from service.settings.settings import Settings
from service.store.connection.migrate import migrate
from service.store.connection.pool import Database
from service.store.evidence.evidence import PostgresEvidence
from service.store.log.journal import PostgresJournal
from tests.integration.postgres_server import Cluster, PostgresServer
from tests.integration.qdrant_server import QdrantServer
from tests.integration.stores import ENCODER, a_decision, a_feedback, an_outcome

POINTS_PER_ARM = 100


class OfTheLog:
    """An encoder of the vector space that the log's contexts are of."""

    name = ENCODER
    dimension = 8

    def encode(self, texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
        return np.eye(8, dtype=np.float32)[: len(texts)]


def settings_of(folder: Path, qdrant_url: str | None, **changes: object) -> Settings:
    return Settings.model_validate(
        {"data_dir": folder, "qdrant_url": qdrant_url, "memory_timeout_s": 30, **changes}
    )


@asynccontextmanager
async def a_database(dsn: str) -> AsyncIterator[Database]:
    database = Database(dsn, connect_timeout_s=10.0, command_timeout_s=10.0)
    yield database
    await database.close()


async def opened(settings: Settings, database: Database, stack: AsyncExitStack) -> Memory:
    return await open_memory(settings, {}, settings.data_dir, InlineEncoder(OfTheLog()), database, stack)


async def rate(database: Database, n_requests: int) -> None:
    """Rated requests whose place in the memory counts as up to date."""
    evidence, journal = PostgresEvidence(database), PostgresJournal(database)
    for i in range(n_requests):
        decision = a_decision(f"r{i}")
        await journal.log_answer(decision, an_outcome(decision), [])
        await evidence.learn(feedback := a_feedback(0.5, f"r{i}"), reward_of(feedback))
    await evidence.mark_remembered(await evidence.pending(n_requests))


async def rebuilt(database: Database, memory: Memory) -> tuple[int, int, int]:
    """Differences found, differences left, and points."""
    done = await reconcile(database, memory, ENCODER, POINTS_PER_ARM, check_only=False)
    return done.memory_before, done.memory_after, await memory.count()


@pytest.fixture(params=["qdrant", "embedded"])
def qdrant(request: pytest.FixtureRequest) -> str | None:
    return str(request.getfixturevalue("qdrant_url")) if request.param == "qdrant" else None


async def test_rebuilds_of_two_databases_lose_no_point_of_each_other(
    qdrant: str | None, system_cluster: Cluster, tmp_path: Path
) -> None:
    production, staging = [await system_cluster.fresh_database() for _ in range(2)]
    async with a_database(production) as one, a_database(staging) as other, AsyncExitStack() as stack:
        await rate(one, 5)
        await rate(other, 2)
        # One after the other: both use one folder, if there is no server.
        of_one = await opened(settings_of(tmp_path, qdrant), one, stack)
        of_other = await opened(settings_of(tmp_path, qdrant), other, stack)

        assert await rebuilt(one, of_one) == (5, 0, 5)
        assert await rebuilt(other, of_other) == (2, 0, 2)
        assert await rebuilt(one, of_one) == (0, 0, 5)
        await of_other.clear()
        assert await of_one.count() == 5


async def test_a_copy_of_a_database_has_a_memory_of_its_own(
    qdrant_url: str, system_cluster: Cluster, tmp_path: Path
) -> None:
    dsn = await system_cluster.fresh_database()
    async with a_database(dsn) as production:
        await rate(production, 3)
    name = dsn.partition("?")[0].rpartition("/")[2]
    copy = await system_cluster.empty_database(f"{name}_copy", template=name)
    async with a_database(dsn) as one, a_database(copy) as other, AsyncExitStack() as stack:
        of_one = await opened(settings_of(tmp_path, qdrant_url), one, stack)
        of_other = await opened(settings_of(tmp_path, qdrant_url), other, stack)
        assert await rebuilt(one, of_one) == (3, 0, 3)
        async with other.transaction() as connection:
            await connection.execute("UPDATE decisions SET learn = false")

        assert await rebuilt(other, of_other) == (0, 0, 0)

        assert await of_one.count() == 3


async def test_a_prefix_parts_deployments_whose_databases_cannot_be_told_apart(
    qdrant_url: str, system_cluster: Cluster, tmp_path: Path
) -> None:
    async with a_database(await system_cluster.fresh_database()) as database, AsyncExitStack() as stack:
        await rate(database, 2)
        production = await opened(settings_of(tmp_path, qdrant_url), database, stack)
        settings = settings_of(tmp_path, qdrant_url, qdrant_collection_prefix="staging")
        staging = await opened(settings, database, stack)
        assert await rebuilt(database, production) == (2, 0, 2)

        await staging.clear()

        assert (await production.count(), await staging.count()) == (2, 0)


async def test_a_collection_of_an_earlier_version_is_left_alone_and_the_new_one_is_filled(
    qdrant_server: QdrantServer, system_cluster: Cluster, tmp_path: Path
) -> None:
    earlier = f"router_{ENCODER}-8"
    client = AsyncQdrantClient(
        url=qdrant_server.url, grpc_port=qdrant_server.grpc_port, prefer_grpc=True, check_compatibility=False
    )
    async with a_database(await system_cluster.fresh_database()) as database, AsyncExitStack() as stack:
        stack.push_async_callback(client.close)
        await rate(database, 3)
        older = await qdrant_memory(qdrant_server.url, stack)
        await reconcile(database, older, ENCODER, POINTS_PER_ARM, check_only=False)
        evidence = PostgresEvidence(database)
        memory = await opened(settings_of(tmp_path, qdrant_server.url), database, stack)

        await fill_memory(database, memory, ENCODER, POINTS_PER_ARM)
        await Learner(evidence, memory, PostgresJournal(database), ENCODER).sweep()

        assert await memory.count() == 3
        assert (await client.count(earlier)).count == 3
        assert await evidence.pending(10) == []


async def test_a_memory_that_got_feedback_before_it_was_filled_is_filled_once(
    qdrant: str | None, system_cluster: Cluster, tmp_path: Path
) -> None:
    async with a_database(await system_cluster.fresh_database()) as database, AsyncExitStack() as stack:
        await rate(database, 3)
        memory = await opened(settings_of(tmp_path, qdrant), database, stack)
        evidence = PostgresEvidence(database)
        learner = Learner(evidence, memory, PostgresJournal(database), ENCODER)
        await learner.learn(a_feedback(0.9, "r1"))
        assert await memory.count() == 1

        await fill_memory(database, memory, ENCODER, POINTS_PER_ARM)
        await learner.sweep()

        assert await memory.count() == 3
        await fill_memory(database, memory, ENCODER, POINTS_PER_ARM)
        assert await evidence.pending(10) == []


@pytest.mark.parametrize(("cap", "withdrawn", "n_points"), [(2, [], 2), (100, ["r1"], 4)])
async def test_a_memory_at_its_cap_or_of_withdrawn_feedback_lacks_nothing(
    system_cluster: Cluster, tmp_path: Path, cap: int, withdrawn: list[str], n_points: int
) -> None:
    async with a_database(await system_cluster.fresh_database()) as database, AsyncExitStack() as stack:
        settings = settings_of(tmp_path, None, memory_points_per_arm=cap)
        memory = await opened(settings, database, stack)
        evidence = PostgresEvidence(database)
        learner = Learner(evidence, memory, PostgresJournal(database), ENCODER)
        await rate(database, 5)
        await fill_memory(database, memory, ENCODER, cap)
        await learner.sweep()
        for request_id in withdrawn:
            await learner.learn(a_feedback(None, request_id))
        await learner.sweep()

        await fill_memory(database, memory, ENCODER, cap)

        assert await evidence.pending(10) == []
        assert await memory.count() == n_points


async def qdrant_memory(url: str, stack: AsyncExitStack) -> Memory:
    """The memory of a version that named collections after their vector space alone."""
    from service.memory.qdrant import QdrantMemory

    memory = await QdrantMemory.connect(
        url,
        api_key=None,
        name="router",
        encoder=ENCODER,
        dimension=8,
        max_points_per_arm=POINTS_PER_ARM,
        timeout_s=30.0,
    )
    stack.push_async_callback(memory.close)
    return memory


async def test_a_memory_opens_once_postgresql_says_whose_it_is(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    async with a_database(postgres_server.dsn) as database, AsyncExitStack() as stack:
        await migrate(database)
        await rate(database, 2)
        postgres_server.stop()
        away = Database(postgres_server.dsn, retry_after_s=0.0)
        stack.push_async_callback(away.close)
        memory = await opened(settings_of(tmp_path, None), away, stack)

        with pytest.raises(MemoryUnavailable, match="not open yet: PostgreSQL"):
            await memory.count()
        postgres_server.start()

        assert await memory.count() == 0
        assert await rebuilt(away, memory) == (2, 0, 2)
