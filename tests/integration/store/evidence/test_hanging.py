"""Feedback beside a group that hangs, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest

from service.store.connection.pool import Connection, Database
from service.store.evidence.evidence import PostgresEvidence
from service.store.evidence.rebuild import evidence_differences
from service.store.log.journal import PostgresJournal
from tests.integration.stores import TENANT, Stores, a_feedback, a_reward, answered

BLOCKED = """
SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()
"""


@pytest.fixture
async def stores(database: Database) -> Stores:
    stores = Stores(PostgresJournal(database), PostgresEvidence(database, patience_s=0.05))
    for request_id in ("r1", "r2"):
        await answered(stores, request_id)
    return stores


@asynccontextmanager
async def locked(database: Database, request_id: str) -> AsyncIterator[Connection]:
    """The decision of a request is locked by another transaction."""
    async with database.transaction() as connection:
        await connection.execute("SELECT FROM decisions WHERE request_id = $1 FOR UPDATE", request_id)
        yield connection


async def are_blocked(connection: Connection, n: int) -> None:
    while await connection.fetchval(BLOCKED) < n:
        await connection.execute("SELECT pg_stat_clear_snapshot()")
        await asyncio.sleep(0.01)


def learning(stores: Stores, reward: str, request_id: str) -> asyncio.Task[object]:
    return asyncio.create_task(stores.evidence.learn(a_feedback(float(reward), request_id), a_reward(reward)))


async def test_feedback_does_not_wait_for_a_group_that_hangs(database: Database, stores: Stores) -> None:
    async with locked(database, "r1") as connection:
        hanging = learning(stores, "0.25", "r1")
        await are_blocked(connection, 1)

        await learning(stores, "0.75", "r2")

        assert not hanging.done()
    await hanging
    assert stores.evidence.sums(TENANT)["small"].reward_sum == Decimal(1)
    assert len(await evidence_differences(database)) == 0


async def test_feedback_on_one_decision_keeps_its_order_in_two_groups(
    database: Database, stores: Stores
) -> None:
    async with locked(database, "r1") as connection:
        earlier = learning(stores, "0.25", "r1")
        await are_blocked(connection, 1)
        later = learning(stores, "0.75", "r1")
        await are_blocked(connection, 2)
    await asyncio.gather(earlier, later)

    assert stores.evidence.sums(TENANT)["small"].reward_sum == Decimal("0.75")
    assert len(await evidence_differences(database)) == 0
