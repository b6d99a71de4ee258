"""Forgetting requests on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from service.conversations.stored_responses import RecentItems
from service.domain.cached_answer import CachedAnswer
from service.domain.conversation import ConversationState
from service.domain.feedback import ImplicitSignal
from service.domain.forgotten import Forgotten, Selection
from service.domain.stored_response import StoredResponse
from service.learning.forgetting import Forgetting
from service.learning.learner import Learner
from service.store.connection.pool import Connection, Database
from service.store.evidence.evidence import PostgresEvidence
from service.store.evidence.rebuild import evidence_differences
from service.store.forgetting import forget
from service.store.forgetting.forget import PostgresForgetting
from service.store.forgetting.kin import KIN
from service.store.log.cached_answers import PostgresAnswerStore
from service.store.log.forgotten import PostgresForgottenDecisions
from service.store.log.journal import PostgresJournal
from service.store.log.responses import PostgresResponseStore
from service.store.spool.codec import CompletedRun
from service.store.spool.spool import Spool
from service.store.spool.spooling_journal import SpoolingJournal
from tests.fakes_memory import FakeMemory
from tests.integration.stores import (
    ENCODER,
    NOW,
    Stores,
    a_decision,
    a_feedback,
    an_attempt,
    an_outcome,
    answered,
    rate,
)

LATER = NOW + timedelta(days=1)
ANY_MODEL: dict[str, Any] = {"models": None, "exclude": frozenset(), "require_data_use": frozenset()}
# Tables that hold nothing of a single request, or only the proof that it was deleted.
NOT_KIN = {
    "arms",
    "evidence",
    "forgotten",
    "forgotten_decisions",
    "histories",
    "oauth_logins",
    "oauth_tokens",
    "price_changes",
    "retired_outcomes",
    "schema_migrations",
}


@pytest.fixture
def stores(database: Database) -> Stores:
    evidence = PostgresEvidence(database)
    return Stores(PostgresJournal(database, store_texts=True, snapshot=evidence.snapshot), evidence)


@pytest.fixture
def memory() -> FakeMemory:
    return FakeMemory(encoder=ENCODER)


def a_request(name: str = "r1", *, tenant: str = "default") -> Selection:
    return Selection(LATER, tenant, request_id=name)


async def forgotten(database: Database, selection: Selection, *, batch: int = 200) -> Forgotten:
    return await PostgresForgetting(database, batch=batch).forget(selection, datetime.now(UTC))


async def count(database: Database, table: str) -> int:
    async with database.connection() as connection:
        return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))


async def histories(database: Database) -> dict[tuple[str, str], tuple[object, ...]]:
    """Every history without its versions."""
    async with database.connection() as connection:
        rows = await connection.fetch("SELECT * FROM histories WHERE n > 0 OR n_predicted > 0")
    return {
        (row["tenant"], row["arm_id"]): tuple(
            value for name, value in row.items() if name not in {"version", "changed_in"}
        )
        for row in rows
    }


async def test_every_table_that_can_name_a_request_is_deleted_from(database: Database) -> None:
    async with database.connection() as connection:
        rows = await connection.fetch(
            "SELECT table_name FROM information_schema.tables"
            " WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
        )
        naming = await connection.fetch(
            "SELECT DISTINCT c.table_name FROM information_schema.columns c"
            " JOIN information_schema.tables t USING (table_schema, table_name)"
            " WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
            " AND column_name IN ('decision_id', 'request_id', 'response_id', 'session_id')"
        )

    assert {row["table_name"] for row in rows} >= KIN.keys() | NOT_KIN
    assert {row["table_name"] for row in naming} <= KIN.keys() | NOT_KIN


async def test_nothing_of_a_forgotten_request_is_left(database: Database, stores: Stores) -> None:
    decision = a_decision("r1")
    query = replace(decision.query, options=replace(decision.query.options, **ANY_MODEL), native=None)
    decision = replace(decision, query=query)
    await stores.journal.log_answer(decision, an_outcome(decision), [an_attempt(decision)])
    await rate(stores, 0.5, "r1")
    await PostgresResponseStore(database).keep(
        StoredResponse("default", f"resp_{decision.decision_id.hex}", None, (), {"output": []}, NOW)
    )
    await PostgresAnswerStore(database).keep(
        CachedAnswer("default", bytes(32), "r1", "small", {"choices": []}, LATER, None, None)
    )
    assert await count(database, "request_bodies") == 1

    report = await forgotten(database, a_request())

    assert {table: await count(database, table) for table in KIN} == dict.fromkeys(KIN, 0)
    assert (report.counts["decisions"], report.counts["responses"], report.counts["cached_answers"]) == (
        1,
        1,
        1,
    )
    assert await stores.journal.record("default", "r1") is None


async def test_other_requests_and_other_tenants_stay(database: Database, stores: Stores) -> None:
    await answered(stores, "r1")
    await answered(stores, "r2")
    await answered(stores, "r1", tenant="other")

    await forgotten(database, a_request())

    assert await stores.journal.find("default", "r2") is not None
    assert await stores.journal.find("other", "r1") is not None
    assert await stores.journal.find("default", "r1") is None


@pytest.mark.parametrize(
    ("selection", "left"),
    [
        (Selection(LATER, "default", session_id="s\ufffd 1"), {"other"}),
        (Selection(LATER, "default"), {"other"}),
        (Selection(LATER), set()),
        (Selection(NOW), {"default", "other"}),
        (Selection(NOW, "default"), {"default", "other"}),
    ],
)
async def test_a_selection_names_a_session_a_tenant_or_a_time(
    database: Database, stores: Stores, selection: Selection, left: set[str]
) -> None:
    await answered(stores, "r1")
    await answered(stores, "r1", tenant="other")

    await forgotten(database, selection)

    async with database.connection() as connection:
        rows = await connection.fetch("SELECT tenant FROM decisions")
    assert {row["tenant"] for row in rows} == left


async def test_a_dry_run_counts_what_is_deleted(database: Database, stores: Stores) -> None:
    await answered(stores, "r1")
    await rate(stores, 0.5, "r1")

    counted = await PostgresForgetting(database).count(a_request())
    deleted = await forgotten(database, a_request())

    assert counted.counts == deleted.counts
    assert counted.counts["decisions"] == 1


async def test_the_posterior_is_that_of_the_remaining_events(database: Database, stores: Stores) -> None:
    """Forgetting every second request leaves what a log without those requests would have taught."""
    for i in range(12):
        await answered(stores, f"r{i}", arm_id=("small", "large")[i % 3 == 0])
    for i in range(12):
        await rate(stores, i / 12, f"r{i}")
    for i in range(0, 12, 4):
        await rate(stores, 1.0, f"r{i}")
    before = await histories(database)

    for i in range(0, 12, 2):
        await forgotten(database, a_request(f"r{i}"))

    assert len(await evidence_differences(database)) == 0
    assert await histories(database) != before


async def test_signals_and_withdrawn_feedback_are_taken_back(database: Database, stores: Stores) -> None:
    decision_id = await answered(stores, "r1")
    await answered(stores, "r2")
    signals = [ImplicitSignal("refusal", "small", Decimal("0.2"))]
    await stores.evidence.learn_signals("default", decision_id, signals, NOW)
    await rate(stores, 0.25, "r1")
    await stores.evidence.learn(a_feedback(None, "r1"), None)

    await forgotten(database, a_request())

    assert len(await evidence_differences(database)) == 0
    assert stores.evidence.sums("default") != {}


async def test_many_batches_and_an_interruption_leave_an_exact_posterior(
    database: Database, stores: Stores
) -> None:
    for i in range(7):
        await answered(stores, f"r{i}")
        await rate(stores, i / 7, f"r{i}")
    await answered(stores, "kept", tenant="other")
    async with database.connection() as connection:  # as a deletion that died before the histories followed
        await connection.execute(
            "INSERT INTO forgotten VALUES ($1, 'all', $2, now(), '{}', now(), NULL)", uuid4(), bytes(32)
        )
        await connection.execute("UPDATE histories SET n = n + 1")

    report = await forgotten(database, Selection(LATER, "default"), batch=2)

    assert report.counts["decisions"] == 7
    assert len(await evidence_differences(database)) == 0
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM forgotten WHERE finished_at IS NULL") == 0


async def test_what_came_back_is_forgotten_again(
    database: Database, stores: Stores, memory: FakeMemory
) -> None:
    """The id of an imported outcome is the same at each import."""
    decision = a_decision("r1")
    sweeping = Forgetting(PostgresForgottenDecisions(database), memory)
    await stores.journal.log_answer(decision, an_outcome(decision), [])
    await forgotten(database, a_request())
    await sweeping.sweep()
    await stores.journal.log_answer(decision, an_outcome(decision), [])

    report = await forgotten(database, a_request())

    assert report.counts["decisions"] == 1
    assert await sweeping.sweep() == 1
    assert len(await evidence_differences(database)) == 0


async def test_a_deadlock_is_no_end(
    database: Database, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kind of transaction is aborted once, as PostgreSQL does with one of those in a deadlock."""
    aborted: list[str] = []

    def once_aborted(name: str) -> None:
        function = getattr(forget, name)

        async def abort(connection: Connection, *args: Any) -> Any:
            if name not in aborted:
                aborted.append(name)
                await connection.execute("DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$")
            return await function(connection, *args)

        monkeypatch.setattr(forget, name, abort)

    for name in ("delete_kin", "delete_orphans", "delete_calibrations", "refold_histories"):
        once_aborted(name)
    await answered(stores, "r1")
    await rate(stores, 0.5, "r1")

    report = await forgotten(database, Selection(LATER, "default"))

    assert len(aborted) == 4
    assert report.counts["decisions"] == 1
    assert len(await evidence_differences(database)) == 0


async def test_the_memory_forgets_even_what_was_written_to_it_late(
    database: Database, stores: Stores, memory: FakeMemory
) -> None:
    learner = Learner(stores.evidence, memory, stores.journal, ENCODER)
    decision_id = await answered(stores, "r1")
    await learner.learn(a_feedback(0.5, "r1"))
    await learner.idle()
    late = memory.points[decision_id]
    sweeping = Forgetting(PostgresForgottenDecisions(database), memory)

    await forgotten(database, a_request())
    await sweeping.sweep()
    assert memory.points == {}
    memory.points[decision_id] = late
    async with database.connection() as connection:
        await connection.execute("UPDATE forgotten_decisions SET forgotten_at = now() - interval '61 s'")
    await sweeping.sweep()

    assert memory.points == {}
    assert await sweeping.sweep() == 0


async def test_replicas_drop_their_copies_once_for_each_deletion(
    database: Database, stores: Stores, memory: FakeMemory
) -> None:
    dropped: list[str] = []
    texts: list[UUID] = []
    sweeping = Forgetting(
        PostgresForgottenDecisions(database),
        memory,
        drop_copies=[lambda: dropped.append("copies")],
        drop_texts=texts.extend,
    )
    await sweeping.sweep()
    dropped.clear()
    decision_id = await answered(stores, "r1")

    await forgotten(database, a_request())
    await sweeping.sweep()
    await sweeping.sweep()

    assert dropped == ["copies"]
    assert texts == [decision_id]


async def test_a_request_that_is_being_answered_keeps_its_place(database: Database, stores: Stores) -> None:
    decision = replace(a_decision("r1"), decided_at=datetime.now(UTC))
    await stores.journal.log_decision(decision)
    soon = datetime.now(UTC) + timedelta(seconds=1)

    report = await forgotten(database, Selection(soon, "default"))
    await stores.journal.log_outcome(an_outcome(decision), [])
    again = await forgotten(database, Selection(soon, "default"))

    assert (report.n_unanswered, report.counts.get("decisions", 0)) == (1, 0)
    assert (again.n_unanswered, again.counts["decisions"]) == (0, 1)


async def test_the_proof_names_nobody(database: Database, stores: Stores) -> None:
    await answered(stores, "alice@example.org", tenant="alice")

    report = await forgotten(database, a_request("alice@example.org", tenant="alice"))

    async with database.connection() as connection:
        row = await connection.fetchrow("SELECT * FROM forgotten")
    assert row is not None
    assert "alice" not in repr(dict(row))
    assert row["counts"]["decisions"] == 1
    assert row["digest"] == a_request("alice@example.org", tenant="alice").digest(report.forgotten_id)


async def test_feedback_and_answers_go_on_meanwhile(database: Database, stores: Stores) -> None:
    for i in range(20):
        await answered(stores, f"r{i}")
        await rate(stores, i / 20, f"r{i}")
        await answered(stores, f"k{i}", tenant="default")

    await asyncio.gather(
        forgotten(database, a_request("r3")),
        *(rate(stores, i / 20, f"k{i}") for i in range(20)),
        *(answered(stores, f"n{i}") for i in range(10)),
        *(forgotten(database, a_request(f"r{i}")) for i in range(10, 20)),
    )

    assert await count(database, "decisions") == 20 + 20 + 10 - 11
    assert len(await evidence_differences(database)) == 0


async def test_the_names_of_answers_go_with_their_decision(database: Database, stores: Stores) -> None:
    decision = a_decision("r1")
    state = ConversationState("small", "v", 0, 1, None, decision.decision_id, NOW)
    await stores.journal.log_answer(
        decision, an_outcome(decision, answer_names=(b"name",), conversation=state), []
    )
    assert await count(database, "sessions") >= 1

    await forgotten(database, a_request())

    assert await count(database, "sessions") == 0


def test_items_of_recent_answers_are_cleared() -> None:
    recent = RecentItems(lambda: NOW)
    recent.keep(StoredResponse("default", "resp_1", None, (), {"output": [{"id": "i"}]}, NOW))

    recent.clear()

    assert recent.find("default", "resp_1") == ()


async def test_lines_of_a_spool_do_not_bring_a_forgotten_request_back(
    database: Database, stores: Stores, tmp_path: Path
) -> None:
    """One request waits whole; of another, only the outcome; a third was answered after the deletion."""
    whole, logged, later = a_decision("r1"), a_decision("r2"), replace(a_decision("r3"), decided_at=LATER)
    await stores.journal.log_decision(logged)
    spool = Spool(tmp_path, 1_000_000, store_texts=True)
    await spool.open()
    for entry in (
        whole,
        CompletedRun(an_outcome(whole), (an_attempt(whole),)),
        CompletedRun(an_outcome(logged), ()),
        later,
    ):
        await spool.append(entry)
    await spool.close()
    await forgotten(database, Selection(LATER, "default"))

    spool = Spool(tmp_path, 1_000_000, store_texts=True)
    journal = SpoolingJournal(PostgresJournal(database, store_texts=True), spool)
    await journal.start()
    await journal.drain()
    await journal.close()

    assert await count(database, "decisions") == 1
    assert await stores.journal.find("default", "r3") is not None
    assert spool.n_entries == 0
    assert not (tmp_path / "rejected").exists()


async def test_rejected_lines_of_a_forgotten_request_are_deleted(
    database: Database, stores: Stores, tmp_path: Path
) -> None:
    gone, kept = a_decision("r1"), a_decision("r2")
    spool = Spool(tmp_path, 1_000_000, store_texts=True)
    journal = SpoolingJournal(PostgresJournal(database), spool)
    await spool.open()
    for decision in (gone, kept):
        await spool.append(decision)
        await spool.reject((await spool.first())[0])
    await forgotten(database, a_request("r1"))

    await journal.drop_forgotten()
    await journal.close()

    rejected = (tmp_path / "rejected").read_text()
    assert str(gone.decision_id) not in rejected
    assert str(kept.decision_id) in rejected
