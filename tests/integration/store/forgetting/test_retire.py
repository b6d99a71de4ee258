"""Deleting old requests on a real PostgreSQL, without a change of what was learned."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

from service.domain.forgotten import Selection
from service.store.connection.pool import Database
from service.store.evidence.evidence import PostgresEvidence
from service.store.evidence.rebuild import evidence_differences
from service.store.forgetting.forget import PostgresForgetting
from service.store.forgetting.retire import Retention
from service.store.log import whole_log
from service.store.log.forgotten import PostgresForgottenDecisions
from service.store.log.journal import PostgresJournal
from service.store.spool.codec import CompletedRun
from service.store.spool.spool import Spool
from service.store.spool.spooling_journal import SpoolingJournal
from tests.integration.stores import NOW, Stores, a_decision, a_feedback, an_outcome, answered, rate

DAYS = 30
SOURCE = "5f" * 16  # the identity of the database that a log is of
LATER = NOW + timedelta(days=DAYS, seconds=1)


@pytest.fixture
def stores(database: Database) -> Stores:
    evidence = PostgresEvidence(database)
    return Stores(PostgresJournal(database, store_texts=True, snapshot=evidence.snapshot), evidence)


async def request_ids(database: Database) -> set[str]:
    async with database.connection() as connection:
        return {row["request_id"] for row in await connection.fetch("SELECT request_id FROM decisions")}


async def test_old_requests_without_feedback_are_deleted_and_the_sums_stay(
    database: Database, stores: Stores
) -> None:
    for i in range(7):
        await answered(stores, f"r{i}", tenant=("default", "other")[i % 2])
    unknown = a_decision("unpriced")
    await stores.journal.log_answer(unknown, an_outcome(unknown, cost_usd=None), [])
    young = replace(a_decision("young"), decided_at=LATER - timedelta(days=1))
    await stores.journal.log_answer(young, an_outcome(young), [])
    before = stores.evidence.sums("default"), stores.evidence.sums("other")

    n_deleted = await Retention(database, DAYS, batch=2).retire(LATER)

    assert n_deleted == 8
    assert await request_ids(database) == {"young"}
    assert len(await evidence_differences(database)) == 0
    reread = PostgresEvidence(database)
    await reread.refresh()
    assert (reread.sums("default"), reread.sums("other")) == before


async def test_a_deleted_request_is_not_counted_again_from_a_spool(
    database: Database, stores: Stores, tmp_path: Path
) -> None:
    """A process died after it had written the lines of its spool, and before it had emptied it."""
    decision = a_decision("r1")
    await stores.journal.log_answer(decision, an_outcome(decision), [])
    spool = Spool(tmp_path, 1_000_000, store_texts=True)
    await spool.open()
    for entry in (decision, CompletedRun(an_outcome(decision), ())):
        await spool.append(entry)
    await spool.close()
    await Retention(database, DAYS).retire(LATER)

    spool = Spool(tmp_path, 1_000_000, store_texts=True)
    journal = SpoolingJournal(PostgresJournal(database, store_texts=True), spool)
    await journal.start()
    await journal.drain()
    await journal.close()

    assert await request_ids(database) == set()
    assert len(await evidence_differences(database)) == 0
    assert (spool.n_entries, spool.n_rejected) == (0, 0)


async def test_a_deleted_request_is_not_counted_again_from_an_exported_log(
    database: Database, stores: Stores
) -> None:
    async with database.connection() as connection:
        await connection.execute("INSERT INTO imported_logs VALUES ($1, now())", UUID(SOURCE))
    await answered(stores, "r1")
    file = [line async for line in whole_log.lines(database)]
    await Retention(database, DAYS).retire(LATER)

    written = await whole_log.write(database, SOURCE, await whole_log.columns_of(database), file)

    assert (written.n_new, written.n_forgotten) == (0, 1)
    assert await request_ids(database) == set()
    assert len(await evidence_differences(database)) == 0


async def test_ids_of_deleted_requests_are_deleted_when_no_copy_can_be_left(
    database: Database, stores: Stores
) -> None:
    ids = [await answered(stores, "r1"), await answered(stores, "r2")]
    await Retention(database, DAYS).retire(LATER)
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE forgotten_decisions SET forgotten_at = now() - interval '91 days' WHERE decision_id = $1",
            ids[0],
        )

    await PostgresForgottenDecisions(database).prune()

    assert await PostgresJournal(database).forgotten_among([], ids) == {ids[1]}


async def test_prices_that_change_afterwards_change_deleted_outcomes_too(
    database: Database, stores: Stores
) -> None:
    await answered(stores, "r1")
    await Retention(database, DAYS).retire(LATER)
    async with database.connection() as connection:
        await connection.execute(
            "INSERT INTO arms (arm_id, state, is_newcomer, added_at, changed_at, changed_in)"
            " VALUES ('small', 'active', false, now(), now(), pg_current_xact_id())"
        )
        await connection.execute("INSERT INTO price_changes VALUES ('small', 1, now(), 2, 0)")

    different = await evidence_differences(database)

    cost_usd = Decimal("0.000123456")
    assert [change.cost_usd_sum for change in different.sums.values()] == [cost_usd]
    assert [change.cost_usd_squares for change in different.sums.values()] == [3 * cost_usd**2]


async def test_rated_requests_keep_what_the_learner_reads_and_lose_their_texts(
    database: Database, stores: Stores
) -> None:
    await answered(stores, "r1")
    await stores.evidence.learn(a_feedback(0.5, "r1", text="well said"), None)
    await rate(stores, 0.5, "r1")

    assert await Retention(database, DAYS).retire(LATER) == 0

    record = await stores.journal.record("default", "r1")
    assert record is not None
    assert "Why?" not in repr(record)
    assert "Because" not in repr(record)
    assert "well said" not in repr(record)
    assert len(await evidence_differences(database)) == 0
    await rate(stores, 0.9, "r1")
    assert len(await evidence_differences(database)) == 0


async def test_texts_that_come_late_are_deleted_within_a_day(database: Database, stores: Stores) -> None:
    """One with feedback on an old request, one with a request that waited long in a spool."""
    retention = Retention(database, DAYS)
    await answered(stores, "r1")
    await rate(stores, 0.5, "r1")
    await retention.retire(LATER)
    await stores.evidence.learn(a_feedback(0.9, "r1", text="well said"), None)
    late = replace(a_decision("r0"), decided_at=NOW - timedelta(days=1))
    await stores.journal.log_answer(late, an_outcome(late), [])

    await retention.retire(LATER + timedelta(days=1))

    assert "well said" not in repr(await stores.journal.record("default", "r1"))
    assert await request_ids(database) == {"r1"}


async def test_a_tenant_is_forgotten_with_the_sums_of_its_deleted_requests(
    database: Database, stores: Stores
) -> None:
    await answered(stores, "r1")
    await answered(stores, "r2", tenant="other")
    await Retention(database, DAYS).retire(LATER)

    report = await PostgresForgetting(database).forget(Selection(LATER, "default"), LATER)

    reread = PostgresEvidence(database)
    await reread.refresh()
    assert report.counts["retired_outcomes"] == 1
    assert {sums.n_outcomes for sums in reread.sums("default").values()} == {0}
    assert {sums.n_outcomes for sums in reread.sums("other").values()} == {1}
    assert len(await evidence_differences(database)) == 0


async def test_one_replica_at_a_time_deletes(database: Database, stores: Stores) -> None:
    await answered(stores, "r1")
    async with database.transaction() as connection:
        await connection.execute("SELECT pg_advisory_xact_lock(7065190244)")
        assert await Retention(database, DAYS).retire(LATER) == 0

    assert await Retention(database, DAYS).retire(LATER) == 1
