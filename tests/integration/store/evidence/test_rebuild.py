"""Rebuilding while a service learns, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from service.commands.jobs.reconcile import Rebuilt, reconcile
from service.domain.feedback import Experience
from service.learning.learner import Learner
from service.store.connection.pool import Database
from service.store.evidence.evidence import PostgresEvidence
from service.store.log.journal import PostgresJournal
from tests.fakes_memory import FakeMemory
from tests.integration.stores import ENCODER, NOW, Stores, a_decision, a_feedback, an_outcome, answered

CAP = 3


class SharedMemory(FakeMemory):
    """A memory that changes while it is read: `meanwhile` runs before the first reading."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def all(self) -> AsyncIterator[Experience]:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        async for experience in super().all():
            yield experience


@pytest.fixture
def stores(database: Database) -> Stores:
    return Stores(PostgresJournal(database), PostgresEvidence(database))


@pytest.fixture
def memory() -> SharedMemory:
    return SharedMemory(encoder=ENCODER, max_points_per_arm=CAP)


@pytest.fixture
def learner(stores: Stores, memory: SharedMemory) -> Learner:
    return Learner(stores.evidence, memory, stores.journal, ENCODER)


async def rated(stores: Stores, learner: Learner, request_id: str = "r1", *, after_s: int = 0) -> UUID:
    """Log a decision with an answer and a rating."""
    decision = replace(a_decision(request_id), decided_at=NOW + timedelta(seconds=after_s))
    await stores.journal.log_decision(decision)
    await stores.journal.log_outcome(an_outcome(decision), [])
    await learner.learn(a_feedback(0.5, request_id))
    await learner.idle()
    return decision.decision_id


async def rebuilt(database: Database, memory: FakeMemory, *, check_only: bool = False) -> Rebuilt:
    return await reconcile(database, memory, ENCODER, CAP, check_only=check_only)


async def test_a_lost_memory_is_rebuilt(
    database: Database, stores: Stores, memory: SharedMemory, learner: Learner
) -> None:
    ids = {await rated(stores, learner, f"r{i}") for i in range(CAP)}
    await memory.clear()

    report = await rebuilt(database, memory)

    assert (report.n_experiences, report.memory_before, report.memory_after) == (CAP, CAP, 0)
    assert set(memory.points) == ids
    assert await stores.evidence.pending(10) == []


async def test_points_unknown_to_postgresql_or_withdrawn_are_forgotten(
    database: Database, stores: Stores, memory: SharedMemory, learner: Learner
) -> None:
    withdrawn = await rated(stores, learner, "r1")
    unrated = await answered(stores, "r2")
    kept = await rated(stores, learner, "r3")
    stale = memory.points[withdrawn]
    await learner.learn(a_feedback(None, "r1"))
    for decision_id in (withdrawn, unrated, uuid4()):
        memory.points[decision_id] = replace(stale, decision_id=decision_id, arm_id="large")

    report = await rebuilt(database, memory)

    assert (report.memory_before, report.memory_after) == (3, 0)
    assert set(memory.points) == {kept}


async def test_feedback_during_a_rebuild_is_kept(
    database: Database, stores: Stores, memory: SharedMemory, learner: Learner
) -> None:
    await rated(stores, learner, "r1")
    memory.meanwhile = lambda: rated(stores, learner, "r2")

    report = await rebuilt(database, memory)

    assert {experience.request_id for experience in memory.points.values()} == {"r1", "r2"}
    assert report.is_clean


async def test_a_revision_during_a_rebuild_is_remembered(
    database: Database, stores: Stores, memory: SharedMemory, learner: Learner
) -> None:
    await rated(stores, learner, "r1")
    memory.meanwhile = lambda: learner.learn(a_feedback(0.9, "r1"))

    report = await rebuilt(database, memory)

    assert [experience.reward for experience in memory.points.values()] == [0.9]
    assert report.is_clean


async def test_a_check_changes_nothing_and_ignores_points_beyond_the_cap(
    database: Database, stores: Stores, memory: SharedMemory, learner: Learner
) -> None:
    memory.max_points_per_arm = CAP + 2  # as between two prunings
    for i in range(CAP + 2):
        await rated(stores, learner, f"r{i}", after_s=i)

    report = await rebuilt(database, memory, check_only=True)

    assert (report.n_experiences, report.memory_before, report.memory_after) == (CAP, 0, 0)
    assert await memory.count() == CAP + 2


async def test_a_check_repairs_no_difference(
    database: Database, stores: Stores, memory: SharedMemory, learner: Learner
) -> None:
    await rated(stores, learner, "r1")
    await memory.clear()

    report = await rebuilt(database, memory, check_only=True)

    assert (report.memory_before, report.memory_after) == (1, 1)
    assert await memory.count() == 0
    assert await stores.evidence.pending(10) == []


async def test_a_rebuild_does_not_wait_for_learners_if_the_evidence_is_right(
    database: Database, stores: Stores, memory: SharedMemory, learner: Learner
) -> None:
    await rated(stores, learner, "r1")
    await memory.clear()

    async with database.transaction() as learning:
        await learning.execute("LOCK TABLE feedback_events IN ROW EXCLUSIVE MODE")  # as any INSERT does
        async with asyncio.timeout(10):
            report = await rebuilt(database, memory)

    assert (report.evidence_before, report.memory_before) == (0, 1)
    assert report.is_clean
