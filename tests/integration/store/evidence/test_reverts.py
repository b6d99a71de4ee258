"""Reverted ratings leave nothing behind: not in sums, histories, replicas, the memory or what is shown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from service.commands.jobs.revert_feedback import WhichRatings, revert_feedback
from service.domain.feedback import Learned, Rater
from service.errors import StartupError
from service.learning.learner import Learner
from service.learning.rewards import reward_of
from service.settings.settings import Settings
from service.store.connection.pool import Database
from service.store.evidence.evidence import PostgresEvidence
from service.store.evidence.rebuild import evidence_differences
from service.store.evidence.reverts import RatingsOf, Reverted, count_ratings, revert
from service.store.log.journal import PostgresJournal
from tests.fakes import FakeMemory
from tests.integration.postgres_server import Cluster
from tests.integration.stores import ENCODER, NOW, TENANT, Stores, a_feedback, answered

APP, STOLEN = UUID(int=1), UUID(int=2)
SINCE, UNTIL = NOW, NOW + timedelta(days=1)
OF_STOLEN = RatingsOf(TENANT, [STOLEN], None, SINCE, UNTIL)
GOOD = [(f"r{i}", 0.9, APP) for i in range(10)]
# Revisions of good ratings, ratings of what nobody else rated, and one that is revised again.
BAD = [("r0", 0.0, STOLEN), ("r1", 0.1, STOLEN), *((f"r{i}", 0.0, STOLEN) for i in range(10, 16))]
LATER = [("r1", 0.8, APP), ("r16", 0.7, APP), ("r17", 0.2, None)]
ALL_REQUESTS = [f"r{i}" for i in range(18)]

Rated = tuple[str, float, UUID | None]


def stores_of(database: Database) -> Stores:
    return Stores(PostgresJournal(database), PostgresEvidence(database))


async def rated(stores: Stores, ratings: Sequence[Rated], source: str | None = None) -> list[Learned]:
    learned = []
    for request_id, score, key_id in ratings:
        feedback = replace(a_feedback(score, request_id), rater=Rater(key_id, source))
        learned.append(await stores.evidence.learn(feedback, reward_of(feedback)))
    return learned


async def decided(stores: Stores) -> None:
    for request_id in ALL_REQUESTS:
        await answered(stores, request_id)


@pytest.fixture
async def twin(embedded_cluster: Cluster) -> AsyncIterator[Database]:
    """Another database."""
    database = Database(
        await embedded_cluster.fresh_database(), connect_timeout_s=10.0, command_timeout_s=10.0
    )
    yield database
    await database.close()


async def known(database: Database) -> tuple[object, object]:
    evidence = PostgresEvidence(database)
    await evidence.refresh()
    return evidence.sums(TENANT), evidence.histories(TENANT)


async def test_what_is_left_is_as_if_the_ratings_had_never_been_sent(
    database: Database, twin: Database
) -> None:
    stores, other = stores_of(database), stores_of(twin)
    await decided(stores)
    await decided(other)
    await rated(stores, [*GOOD, *BAD, *LATER])
    await rated(other, [*GOOD, *LATER])

    done = await revert(database, OF_STOLEN, NOW)

    assert (done.n_ratings, done.n_requests, done.n_models) == (8, 8, 1)
    assert await known(database) == await known(twin)
    assert len(await evidence_differences(database)) == 0  # so a rebuild comes to the same


async def test_the_memory_forgets_what_is_reverted_and_remembers_what_stood_before(
    database: Database,
) -> None:
    stores, memory = stores_of(database), FakeMemory(encoder=ENCODER)
    learner = Learner(stores.evidence, memory, stores.journal, ENCODER)
    await decided(stores)
    await rated(stores, [*GOOD, *BAD])
    await learner.sweep()

    await revert(database, OF_STOLEN, NOW)
    await learner.sweep()

    remembered = {e.request_id: e.reward async for e in memory.all()}
    assert remembered == {f"r{i}": 0.9 for i in range(10)}
    assert await learner.sweep() == 0


async def test_replicas_learn_on_meanwhile_and_lose_nothing(database: Database) -> None:
    stores, other = stores_of(database), stores_of(database)
    await decided(stores)
    await rated(stores, [*GOOD, *BAD])

    _, learned, _ = await asyncio.gather(
        revert(database, OF_STOLEN, NOW), rated(other, LATER), rated(stores, [("r15", 0.6, APP)])
    )

    assert [one.event_id is not None for one in learned] == [True] * 3
    assert len(await evidence_differences(database)) == 0
    for evidence in (stores.evidence, other.evidence):
        await evidence.refresh()  # type: ignore[attr-defined]
        assert (evidence.sums(TENANT), evidence.histories(TENANT)) == await known(database)
    assert float(stores.evidence.sums(TENANT)["small"].n) == 13


async def test_a_request_can_be_rated_again_after_a_revert(database: Database) -> None:
    stores = stores_of(database)
    await decided(stores)
    await rated(stores, BAD)
    await revert(database, OF_STOLEN, NOW)

    (again,) = await rated(stores, [("r0", 0.0, APP)])

    record = await stores.journal.record(TENANT, "r0")
    assert again.status == "applied"
    assert record is not None
    assert [event["event_id"] for event in record["feedback"]] == [again.event_id]


async def test_only_the_named_ratings_are_reverted(database: Database) -> None:
    stores = stores_of(database)
    await decided(stores)
    await rated(stores, [("r0", 0.1, APP), ("r1", 0.1, None)], source="judge")
    await rated(stores, [("r2", 0.1, APP), ("r3", 0.1, None)])
    named = [
        replace(OF_STOLEN, tenant="other", key_ids=None),
        replace(OF_STOLEN, key_ids=None, since=UNTIL, until=UNTIL + timedelta(1)),
        replace(OF_STOLEN, key_ids=[]),
        replace(OF_STOLEN, key_ids=None, source="judge"),
        replace(OF_STOLEN, key_ids=[APP], source="judge"),
    ]

    counted = [(await count_ratings(database, ratings)).n_ratings for ratings in named]

    assert counted == [0, 0, 2, 2, 1]
    assert await revert(database, named[0], NOW) == Reverted(None, 0, 0, 0)
    assert (await revert(database, named[3], NOW)).n_ratings == 2
    assert (await revert(database, named[3], NOW)).n_ratings == 0


async def test_the_command_names_keys_by_their_name_and_counts_first(database: Database, dsn: str) -> None:
    stores, settings = stores_of(database), Settings(database_url=dsn)
    await decided(stores)
    async with database.connection() as connection:
        await connection.execute(_KEY, STOLEN)
    await rated(stores, [*GOOD, *BAD])
    which = WhichRatings(TENANT, "leaked", None, SINCE, UNTIL)

    counted = await revert_feedback(settings, which, dry_run=True)
    done = await revert_feedback(settings, which, dry_run=False)

    assert counted.text() == "would revert 8 ratings of 8 requests, on 1 models"
    assert done.text() == "revert 1: reverted 8 ratings of 8 requests, on 1 models"
    with pytest.raises(StartupError, match="--key nobody: tenant default has no key with this id or name"):
        await revert_feedback(settings, replace(which, key="nobody"), dry_run=False)


_KEY = """
INSERT INTO api_keys (key_id, name, tenant, scopes, digest, secret_id, created_at)
VALUES ($1, 'leaked', 'default', '{feedback}', decode(repeat('00', 32), 'hex'), 's', now())
"""
