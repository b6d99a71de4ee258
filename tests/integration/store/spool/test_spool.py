"""While PostgreSQL is unavailable, decisions and outcomes go to disk; later they are written in order."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from service.domain.answer import Attempt, Outcome
from service.domain.conversation import ConversationStep, Place
from service.domain.decision import Decision
from service.domain.query import Turn
from service.errors import RequestConflict, StoreBusy, StoreUnavailable
from service.store.connection.pool import Database
from service.store.evidence.evidence import PostgresEvidence
from service.store.evidence.rebuild import evidence_differences
from service.store.log.journal import PostgresJournal
from service.store.spool.codec import CompletedRun, decode, encode
from service.store.spool.spool import Spool
from service.store.spool.spooling_journal import SpoolingJournal
from tests.fakes_store import FakeEvidence, FakeJournal, FakeStore
from tests.integration.postgres_server import PostgresServer, migrate_database
from tests.integration.stores import NOW, TENANT, a_decision, an_attempt, an_outcome

MEGABYTE = 1_000_000


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@asynccontextmanager
async def spooling(
    store: FakeStore, folder: Path, max_bytes: int = MEGABYTE
) -> AsyncIterator[SpoolingJournal]:
    """A journal that drains only at its start and on `drain`."""
    journal = SpoolingJournal(FakeJournal(store), Spool(folder, max_bytes), retry_every_s=3600.0)
    await journal.start()
    try:
        yield journal
    finally:
        await journal.close()


def begin_a_line(folder: Path) -> None:
    """Leave a torn line, as a crash during a write does."""
    with next(folder.glob("*.jsonl")).open("ab") as file:
        file.write(b'{"kind": "decision", "torn')


def of_an_earlier_version(line: bytes) -> bytes:
    """The line without its checksum."""
    return re.sub(rb',"crc32":"\w+"', b"", line)


PLACE = Place(b"opening", b"asked", b"earlier")


def comparable(decision: Decision) -> dict[str, object]:
    """The decision with its array as bytes, since arrays compare element by element."""
    assert decision.context is not None
    return {**asdict(decision), "context": decision.context.tobytes()}


# --- the lines -----------------------------------------------------------------------------------------


def test_a_decoded_decision_equals_the_original() -> None:
    decision = a_decision(text="naïve\n\0 text")
    turn = Turn(b"key", PLACE, (b"by a call", b"by its text"), in_tool_loop=True, n_asked_chars=3)
    in_a_conversation = replace(decision.query, turn=turn, n_client_retries=2)
    decision = replace(
        decision, query=in_a_conversation, step=ConversationStep(2, "acme", 1, True, "small", gain=0.1)
    )

    back = decode(encode(decision, store_texts=True))

    assert isinstance(back, Decision)
    assert comparable(back) == comparable(
        replace(decision, query=replace(decision.query, body={}, native=None))
    )


def test_a_decision_spooled_before_holdouts_still_decodes() -> None:
    line = of_an_earlier_version(encode(replace(a_decision(), holdout=True), store_texts=False))
    older = line.replace(b',"holdout":true', b"")

    then, now = decode(older), decode(line)

    assert older != line
    assert isinstance(then, Decision)
    assert isinstance(now, Decision)
    assert (then.holdout, now.holdout) == (None, True)


def test_a_decoded_outcome_equals_the_original() -> None:
    decision = a_decision()
    outcome = an_outcome(decision, answer_names=(b"by a call", b"by its text"))
    run = CompletedRun(outcome, (an_attempt(decision), an_attempt(decision, 1, ttft_s=None)))

    assert decode(encode(run, store_texts=True)) == run


def test_entries_spooled_before_answers_named_conversations_still_decode() -> None:
    decision, run = a_decision(), CompletedRun(an_outcome(a_decision()), ())
    decision = replace(decision, query=replace(decision.query, turn=Turn(b"key", n_asked_chars=3)))
    older = (
        of_an_earlier_version(encode(decision, store_texts=False))
        .replace(b'"place":null,"answered":[],', b'"continues":true,')
        .replace(b'"side_call":null', b'"is_housekeeping":false')
    )
    housekeeping = older.replace(b'"is_housekeeping":false', b'"is_housekeeping":true')
    older_run = of_an_earlier_version(encode(run, store_texts=True)).replace(b',"answer_names":[]', b"")

    then = decode(older)

    assert b"answered" not in older
    assert b"answer_names" not in older_run
    assert isinstance(then, Decision)
    assert then.query.turn == decision.query.turn
    assert decode(older_run) == run
    assert isinstance(title := decode(housekeeping), Decision)
    assert title.query.turn.side_call == "title"


def test_an_outcome_spooled_before_the_cost_of_its_call_was_kept_still_decodes() -> None:
    run = CompletedRun(an_outcome(a_decision(), cost_usd=Decimal("0.02")), ())
    line = of_an_earlier_version(encode(run, store_texts=True))

    older = line.replace(b'"call_cost_usd":"0.02",', b"")

    assert older != line
    assert decode(older) == run


def test_texts_are_not_written_unless_switched_on() -> None:
    decision = a_decision(text="secret")
    run = CompletedRun(an_outcome(decision, answer_text="secret"), ())

    lines = encode(decision, store_texts=False) + encode(run, store_texts=False)

    assert b"secret" not in lines
    back = decode(lines.splitlines()[0])
    assert isinstance(back, Decision)
    assert len(back.query.text) == len("secret")


# --- the spool -----------------------------------------------------------------------------------------


async def test_with_postgresql_nothing_is_spooled(store: FakeStore, tmp_path: Path) -> None:
    async with spooling(store, tmp_path) as journal:
        await journal.log_decision(a_decision())

        assert not journal.is_degraded
        assert len(store.decisions) == 1


async def test_spooled_entries_are_found_and_then_drained_in_order(store: FakeStore, tmp_path: Path) -> None:
    decision = a_decision()
    async with spooling(store, tmp_path) as journal:
        store.is_down = True
        await journal.log_decision(decision)
        await journal.log_outcome(an_outcome(decision), [an_attempt(decision)])

        found = await journal.find(TENANT, "r1")

        assert found is not None
        assert (found.decision_id, found.n_attempts) == (decision.decision_id, 1)
        assert found.probabilities == (("small", 0.7), ("large", 0.1 + 0.2))
        assert (journal.is_degraded, journal.n_spooled) == (True, 2)
        with pytest.raises(StoreUnavailable):
            await journal.find(TENANT, "another")
        with pytest.raises(StoreUnavailable):
            await journal.drain()

        store.is_down = False
        await journal.drain()

        assert not journal.is_degraded
        assert FakeEvidence(store).sums(TENANT)["small"].n_outcomes == 1


async def test_an_outcome_does_not_overtake_its_decision(store: FakeStore, tmp_path: Path) -> None:
    decision = a_decision()
    async with spooling(store, tmp_path) as journal:
        store.is_down = True
        await journal.log_decision(decision)
        store.is_down = False

        await journal.log_outcome(an_outcome(decision), [])

        await journal.drain()
        assert decision.decision_id in store.outcomes
        assert not journal.is_degraded


async def test_entries_spooled_before_a_crash_are_drained_at_the_next_start(
    store: FakeStore, tmp_path: Path
) -> None:
    crashed = SpoolingJournal(FakeJournal(store), Spool(tmp_path, MEGABYTE), retry_every_s=3600.0)
    await crashed.start()
    store.is_down = True
    await crashed.log_decision(a_decision("r1"))
    await crashed.log_decision(a_decision("r2"))
    await crashed.close()
    begin_a_line(tmp_path)
    store.is_down = False

    async with spooling(store, tmp_path) as journal:
        await journal.drain()

        assert {d.query.request_id for d in store.decisions.values()} == {"r1", "r2"}
        assert not journal.is_degraded
    assert not (tmp_path / "rejected").exists()


async def test_processes_that_share_a_folder_do_not_disturb_each_other(
    store: FakeStore, tmp_path: Path
) -> None:
    async with spooling(store, tmp_path) as one, spooling(store, tmp_path) as other:
        store.is_down = True
        await one.log_decision(a_decision("r1"))
        await other.log_decision(a_decision("r2"))
        assert (one.n_spooled, other.n_spooled) == (1, 1)

    async with spooling(store, tmp_path) as heir:
        assert heir.n_spooled == 2


async def test_the_request_id_of_a_waiting_decision_is_in_use(store: FakeStore, tmp_path: Path) -> None:
    decision = a_decision()
    async with spooling(store, tmp_path) as journal:
        store.is_down = True
        await journal.log_decision(decision)

        await journal.log_decision(decision)
        with pytest.raises(RequestConflict):
            await journal.log_decision(a_decision())

        assert journal.n_spooled == 1


async def test_an_entry_that_cannot_be_written_is_rejected_and_does_not_block_the_rest(
    store: FakeStore, tmp_path: Path
) -> None:
    async with spooling(store, tmp_path) as journal:
        store.is_down = True
        await journal.log_decision(a_decision("r1"))
        await journal.log_decision(a_decision("r2"))
        store.is_down = False
        own_id = a_decision("r1").query.under_own_id().request_id
        for taken in ("r1", own_id):
            await FakeJournal(store).log_decision(a_decision(taken, text="Another question"))

        await journal.drain()

        assert {d.query.request_id for d in store.decisions.values()} == {"r1", own_id, "r2"}
        assert not journal.is_degraded
    assert len((tmp_path / "rejected").read_bytes().splitlines()) == 1


async def test_a_decision_whose_id_another_replica_used_meanwhile_is_kept_under_an_id_of_its_own(
    store: FakeStore, tmp_path: Path
) -> None:
    decision = a_decision("r1")
    async with spooling(store, tmp_path) as journal:
        store.is_down = True
        await journal.log_decision(decision)
        store.is_down = False
        await FakeJournal(store).log_decision(a_decision("r1", text="Another question"))

        await journal.drain()

    kept = store.decisions[decision.decision_id]
    assert kept.query.request_id == decision.query.under_own_id().request_id
    assert len(store.decisions) == 2
    assert not (tmp_path / "rejected").exists()


async def test_a_retry_answered_during_an_outage_joins_the_earlier_decision(
    store: FakeStore, tmp_path: Path
) -> None:
    before, again = a_decision("r1"), a_decision("r1", arm_id="large")
    async with spooling(store, tmp_path) as journal:
        await journal.log_decision(before)
        await journal.log_outcome(an_outcome(before), [an_attempt(before)])
        store.is_down = True
        await journal.log_decision(again)
        later = NOW + timedelta(seconds=60)
        await journal.log_outcome(an_outcome(again, arm_id="large", completed_at=later), [an_attempt(again)])
        store.is_down = False

        await journal.drain()

        record = await journal.record(TENANT, "r1")
    assert record is not None
    assert record["decision_id"] == str(before.decision_id)
    assert [attempt["position"] for attempt in record["attempts"]] == [0, 1]
    assert record["outcome"]["model"] == "large"
    assert not (tmp_path / "rejected").exists()


async def test_a_full_spool_reports_and_counts_the_loss(store: FakeStore, tmp_path: Path) -> None:
    async with spooling(store, tmp_path, max_bytes=3_000) as journal:
        store.is_down = True
        await journal.log_decision(a_decision("r1"))

        with pytest.raises(StoreUnavailable, match="spool is full"):
            await journal.log_decision(a_decision("r2"))

        assert (journal.n_spooled, journal.n_refused) == (1, 1)
        store.is_down = False
        await journal.drain()
        assert len(store.decisions) == 1


async def test_an_emptied_spool_accepts_more(store: FakeStore, tmp_path: Path) -> None:
    async with spooling(store, tmp_path, max_bytes=3_000) as journal:
        for request_id in ("r1", "r2", "r3"):
            store.is_down = True
            await journal.log_decision(a_decision(request_id))
            store.is_down = False
            await journal.drain()

        assert len(store.decisions) == 3
        assert journal.n_refused == 0


async def test_many_entries_at_once_are_all_stored(store: FakeStore, tmp_path: Path) -> None:
    store.is_down = True
    async with spooling(store, tmp_path) as journal:
        await asyncio.gather(*(journal.log_decision(a_decision(f"r{i}")) for i in range(100)))

    store.is_down = False
    async with spooling(store, tmp_path) as heir:
        await heir.drain()

    assert len(store.decisions) == 100


# --- an outage of PostgreSQL ---------------------------------------------------------------------------


async def log(journal: SpoolingJournal, decision: Decision, run: Sequence[Attempt], outcome: Outcome) -> None:
    await journal.log_decision(decision)
    await journal.log_outcome(outcome, run)


async def test_an_outage_of_postgresql_loses_nothing_and_counts_nothing_twice(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    await migrate_database(postgres_server.dsn)
    database = Database(postgres_server.dsn, connect_timeout_s=10.0, retry_after_s=0.0)
    evidence = PostgresEvidence(database)
    plain = PostgresJournal(database, snapshot=evidence.snapshot)
    journal = SpoolingJournal(plain, Spool(tmp_path, MEGABYTE), retry_every_s=0.01)
    await journal.start()
    decisions = [a_decision(f"r{i}") for i in range(30)]
    runs = [[an_attempt(decision)] for decision in decisions]

    for i, decision in enumerate(decisions):
        if i == 10:
            postgres_server.kill()
        if i == 20:
            assert journal.is_degraded
            postgres_server.start()
        await log(journal, decision, runs[i], an_outcome(decision))
    async with asyncio.timeout(20):
        while journal.is_degraded:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)

    found = [await plain.find(TENANT, decision.query.request_id) for decision in decisions]
    assert [decision and decision.n_attempts for decision in found] == [1] * 30
    assert evidence.sums(TENANT)["small"].n_outcomes == 30
    assert len(await evidence_differences(database)) == 0
    await journal.close()
    await database.close()


async def test_a_wait_for_a_connection_is_no_outage(postgres_server: PostgresServer, tmp_path: Path) -> None:
    await migrate_database(postgres_server.dsn)
    database = Database(
        postgres_server.dsn,
        max_connections=1,
        connect_timeout_s=0.02,
        busy_timeout_s=0.02,
        retry_after_s=3600.0,
    )
    plain = PostgresJournal(database)
    journal = SpoolingJournal(plain, Spool(tmp_path, MEGABYTE))
    await journal.start()
    decisions = [a_decision(f"r{number}") for number in range(20)]

    async with database.connection(timeout_s=10.0):  # a slow holder of the only connection
        finding = asyncio.create_task(journal.find(TENANT, "r0"))
        logging = [
            asyncio.create_task(journal.log_answer(d, an_outcome(d), [an_attempt(d)])) for d in decisions
        ]
        for _ in range(5):  # far longer than others wait
            with pytest.raises(StoreBusy):
                await database.ping()
        assert not any(waiting.done() for waiting in (finding, *logging))
        assert not journal.is_degraded

    await asyncio.gather(finding, *logging)
    assert journal.n_spooled == 0
    found = await plain.find_group([(TENANT, decision.query.request_id) for decision in decisions])
    assert [logged and logged.n_attempts for logged in found] == [1] * 20
    await journal.close()
    await database.close()
