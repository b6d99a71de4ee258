"""Entries that are written as one group are written as each on its own would be."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from service.domain.conversation import ConversationState, ConversationStep
from service.domain.decision import Decision
from service.domain.query import Turn
from service.errors import RequestConflict, UnknownRequest
from service.store.connection.pool import Database
from service.store.evidence.evidence import PostgresEvidence
from service.store.evidence.rebuild import evidence_differences
from service.store.log.conversations import PostgresConversationStates
from service.store.log.group import LogEntry
from service.store.log.journal import PostgresJournal
from service.store.spool.codec import CompletedRun, decode, encode
from service.store.spool.spool import Spool
from service.store.spool.spooling_journal import SpoolingJournal
from tests.integration.postgres_server import Cluster, PostgresServer, migrate_database
from tests.integration.stores import NOW, TENANT, a_decision, a_feedback, a_reward, an_attempt, an_outcome

MEGABYTE = 1_000_000


def answered(decision: Decision, **of_outcome: object) -> LogEntry:
    return LogEntry(decision, an_outcome(decision, **of_outcome), [an_attempt(decision)])  # type: ignore[arg-type]


def kinds(errors: list[Exception | None]) -> list[type | None]:
    return [None if error is None else type(error) for error in errors]


# --- one group


async def test_a_group_is_one_transaction(database: Database, dsn: str) -> None:
    errors = await PostgresJournal(database).log_group([answered(a_decision(f"r{i}")) for i in range(20)])

    connection = await asyncpg.connect(dsn)
    transactions = await connection.fetchval(
        "SELECT count(*) FROM (SELECT xmin::text FROM decisions UNION SELECT xmin::text FROM outcomes"
        " UNION SELECT xmin::text FROM attempts UNION SELECT xmin::text FROM evidence) AS t"
    )
    await connection.close()
    assert errors == [None] * 20
    assert transactions == 1


async def test_of_two_decisions_with_one_request_id_in_a_group_the_first_wins(database: Database) -> None:
    journal = PostgresJournal(database)
    first, second = a_decision("r1"), a_decision("r1")

    errors = await journal.log_group([answered(first), answered(second), answered(a_decision("r2"))])

    assert kinds(errors) == [None, RequestConflict, None]
    found = await journal.find(TENANT, "r1")
    assert found is not None
    assert (found.decision_id, found.n_attempts) == (first.decision_id, 1)


async def test_the_outcome_of_a_refused_decision_is_not_written(database: Database) -> None:
    journal = PostgresJournal(database)
    evidence = PostgresEvidence(database)
    await journal.log_decision(a_decision("r1"))
    second = a_decision("r1")

    errors = await journal.log_group(
        [answered(second), LogEntry(None, an_outcome(second), [an_attempt(second)])]
    )

    assert kinds(errors) == [RequestConflict, UnknownRequest]
    record = await journal.record(TENANT, "r1")
    assert record is not None
    assert (record["outcome"], record["attempts"]) == (None, [])
    assert dict(evidence.sums(TENANT)) == {}


async def test_an_unknown_decision_fails_its_own_outcome_only(database: Database) -> None:
    journal = PostgresJournal(database)
    known = a_decision("r1")
    await journal.log_decision(known)
    of_another_tenant = replace(an_outcome(known), tenant="another")

    errors = await journal.log_group(
        [LogEntry(None, an_outcome(a_decision("r9"))), LogEntry(None, an_outcome(known), [an_attempt(known)])]
    )

    assert kinds(errors) == [UnknownRequest, None]
    assert kinds(await journal.log_group([LogEntry(None, of_another_tenant)])) == [UnknownRequest]


@pytest.mark.parametrize("poison", [{"latency_s": 1e9}, {"latency_s": float("inf")}, {"answer_chars": 2**40}])
async def test_a_value_that_postgresql_refuses_fails_its_own_entry_only(
    database: Database, poison: dict[str, object]
) -> None:
    journal = PostgresJournal(database)
    entries = [answered(a_decision("r1")), answered(a_decision("r2"), **poison), answered(a_decision("r3"))]

    errors = await journal.log_group(entries)

    assert [error is None for error in errors] == [True, False, True]
    found = [await journal.find(TENANT, f"r{i}") for i in (1, 2, 3)]
    assert [decision is not None for decision in found] == [True, False, True]


async def test_a_decision_and_its_outcomes_may_be_in_one_group(database: Database) -> None:
    journal = PostgresJournal(database)
    decision = a_decision()
    later = an_outcome(decision, after_s=9.0, arm_id="large")

    errors = await journal.log_group(
        [
            LogEntry(decision),
            LogEntry(None, an_outcome(decision), [an_attempt(decision)]),
            LogEntry(None, later, [an_attempt(decision, 1, arm_id="large")]),
        ]
    )

    assert errors == [None] * 3
    record = await journal.record(TENANT, "r1")
    assert record is not None
    assert (record["model"], len(record["attempts"])) == ("large", 2)
    assert len(await evidence_differences(database)) == 0


async def test_the_retry_of_a_logged_request_is_written(database: Database) -> None:
    journal = PostgresJournal(database)
    await journal.log_decision(a_decision("r1"))
    found = await journal.find(TENANT, "r1")
    assert found is not None
    again = replace(a_decision("r1"), decision_id=found.decision_id)

    await journal.log_outcome(an_outcome(again), [an_attempt(again)])

    record = await journal.record(TENANT, "r1")
    assert record is not None
    assert len(record["attempts"]) == 1
    run = CompletedRun(an_outcome(again), (an_attempt(again),))
    assert decode(encode(run, store_texts=True)) == run


async def test_a_late_outcome_reads_the_rows_of_its_decision_only(database: Database) -> None:
    journal = PostgresJournal(database)
    decisions = [a_decision(f"r{number}") for number in range(30)]
    n_read = []

    for decision in decisions:
        await journal.log_decision(decision)
        await journal.log_outcome(an_outcome(decision), [an_attempt(decision)])
        async with database.connection() as connection:
            await connection.execute("SELECT pg_stat_force_next_flush()")
            n_read.append(await connection.fetchval(_N_READ))

    assert n_read[-1] - n_read[-2] <= 5


_N_READ = """
SELECT sum(idx_tup_read)::int FROM pg_stat_user_indexes WHERE relname IN ('attempts', 'outcomes')
"""


async def test_writing_a_group_again_changes_nothing(database: Database) -> None:
    evidence = PostgresEvidence(database)
    journal = PostgresJournal(database, snapshot=evidence.snapshot)
    entries = [answered(a_decision(f"r{i}")) for i in range(3)]
    await journal.log_group(entries)

    errors = await journal.log_group(entries)

    assert errors == [None] * 3
    assert evidence.sums(TENANT)["small"].n_outcomes == 3
    assert len(await evidence_differences(database)) == 0


async def test_an_outcome_of_a_rated_decision_is_queued_for_the_memory(database: Database) -> None:
    journal, evidence = PostgresJournal(database), PostgresEvidence(database)
    rated, other = a_decision("r1"), a_decision("r2")
    await journal.log_group([LogEntry(rated), LogEntry(other)])
    await evidence.learn(a_feedback(1.0, "r1"), a_reward("1"))
    (pending,) = await evidence.pending(10)
    await evidence.mark_remembered([pending])

    await journal.log_group([LogEntry(None, an_outcome(rated)), LogEntry(None, an_outcome(other))])

    assert [p.decision_id for p in await evidence.pending(10)] == [rated.decision_id]


# --- conversations in a group


def in_conversation(
    request_id: str, arm_id: str, *, after_s: float = 0.0, key: bytes | None = b"c"
) -> Decision:
    decision = a_decision(request_id, arm_id=arm_id)
    query = replace(decision.query, turn=Turn(key=key, n_asked_chars=1))
    step = ConversationStep(1, "acme", 0, None, None)
    return replace(decision, query=query, step=step, decided_at=NOW + timedelta(seconds=after_s))


async def test_of_two_turns_in_a_group_the_newer_one_counts(database: Database) -> None:
    newer, older = in_conversation("r2", "large", after_s=5.0), in_conversation("r1", "small")

    await PostgresJournal(database).log_group([LogEntry(newer), LogEntry(older)])

    states = await PostgresConversationStates(database).find(TENANT, [b"c"], NOW - timedelta(days=1))
    assert states[b"c"].arm_id == "large"


async def test_a_group_moves_and_names_conversations(database: Database) -> None:
    moved, named = in_conversation("r1", "small"), in_conversation("r2", "small", key=None)
    now_at = ConversationState("large", "other", 2, 1, None, moved.decision_id, NOW + timedelta(seconds=9))
    by_answer = replace(now_at, decision_id=named.decision_id)

    await PostgresJournal(database).log_group(
        [
            answered(moved, conversation=now_at),
            answered(named, conversation=by_answer, answer_names=(b"n1", b"n2")),
        ]
    )

    states = await PostgresConversationStates(database).find(
        TENANT, [b"c", b"n1", b"n2"], NOW - timedelta(days=1)
    )
    assert {key: state.arm_id for key, state in states.items()} == {
        b"c": "large",
        b"n1": "large",
        b"n2": "large",
    }
    assert states[b"c"].n_messages_of_other_vendors == 2


# --- sums

_PRICED_ANEW = """
WITH priced AS (
    INSERT INTO arms (arm_id, state, is_newcomer, added_at, changed_at, changed_in)
    VALUES ('b', 'active', false, now(), now(), pg_current_xact_id())
    RETURNING arm_id
)
INSERT INTO price_changes (arm_id, version, changed_at, factor, added_usd)
SELECT arm_id, 1, now(), 0.7, 0.001 FROM priced
"""


def random_entries(rng: random.Random) -> Iterator[LogEntry]:
    """Decisions, outcomes and both, of some tenants and arms; some are repeated or replaced later."""
    logged: list[Decision] = []
    for i in range(60):
        if logged and rng.random() < 0.3:
            decision, is_new = rng.choice(logged), False
        else:
            tenant, learn = rng.choice([TENANT, "another"]), rng.random() < 0.8
            decision = a_decision(f"r{i}", arm_id=rng.choice("abc"), tenant=tenant, learn=learn)
            logged.append(decision)
            is_new = True
        outcome = an_outcome(
            decision,
            after_s=rng.uniform(0.0, 9.0),
            arm_id=rng.choice("abc"),
            status=rng.choice(["ok", "ok", "ok", "failed", "cancelled"]),
            kind=rng.choice(["exploit", "fallback", "cache"]),
            latency_s=rng.uniform(0.0, 9.0),
            cost_source=rng.choice(["price", "provider", "unknown"]),
            price_version=rng.choice([0, 1]),
        )
        if is_new and rng.random() < 0.3:
            yield LogEntry(decision)
            yield LogEntry(None, outcome, [an_attempt(decision)])
        else:
            yield LogEntry(decision if is_new else None, outcome, [an_attempt(decision)])


@pytest.mark.parametrize("seed", range(4))
async def test_groups_of_any_size_add_up_to_the_same_sums_as_single_entries(
    seed: int, system_cluster: Cluster
) -> None:
    rng = random.Random(seed)
    entries = list(random_entries(rng))
    alone, together = [
        Database(await system_cluster.fresh_database(), connect_timeout_s=10.0, command_timeout_s=10.0)
        for _ in range(2)
    ]
    sums = []
    for database, most in ((alone, 1), (together, 17)):
        async with database.connection() as connection:
            await connection.execute(_PRICED_ANEW)
        evidence = PostgresEvidence(database)
        journal = PostgresJournal(database, snapshot=evidence.snapshot)
        rest = entries
        while rest:
            size = rng.randint(1, most)
            assert await journal.log_group(rest[:size]) == [None] * len(rest[:size])
            rest = rest[size:]
        sums.append([dict(evidence.sums(tenant)) for tenant in (TENANT, "another")])
        assert len(await evidence_differences(database)) == 0
        await database.close()

    assert sums[0] == sums[1]


# --- the writer


async def test_a_caller_that_stops_waiting_does_not_lose_its_entry(
    database: Database, tmp_path: Path
) -> None:
    journal = SpoolingJournal(PostgresJournal(database), Spool(tmp_path, MEGABYTE))
    await journal.start()
    logging = asyncio.create_task(journal.log_decision(a_decision()))
    await asyncio.sleep(0)

    logging.cancel()
    await journal.close()

    assert logging.cancelled()
    assert await journal.find(TENANT, "r1") is not None


async def test_an_outage_in_the_middle_of_many_requests_loses_nothing_and_counts_nothing_twice(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    await migrate_database(postgres_server.dsn)
    database = Database(postgres_server.dsn, connect_timeout_s=10.0, retry_after_s=0.0)
    plain = PostgresJournal(database)
    journal = SpoolingJournal(plain, Spool(tmp_path, MEGABYTE), retry_every_s=0.01)
    await journal.start()
    decisions = [a_decision(f"r{i}") for i in range(60)]

    async def log(decision: Decision) -> None:
        outcome, attempts = an_outcome(decision), [an_attempt(decision)]
        if int(decision.query.request_id[1:]) % 2:
            await journal.log_answer(decision, outcome, attempts)
        else:
            await journal.log_decision(decision)
            await journal.log_outcome(outcome, attempts)

    logging = []
    for i, decision in enumerate(decisions):
        if i == 20:
            await asyncio.to_thread(postgres_server.kill)
        if i == 40:
            await asyncio.to_thread(postgres_server.start)
        logging.append(asyncio.create_task(log(decision)))
        await asyncio.sleep(0)
    await asyncio.gather(*logging)
    async with asyncio.timeout(20):
        while journal.is_degraded:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)

    found = [await plain.find(TENANT, decision.query.request_id) for decision in decisions]
    assert [decision and decision.n_attempts for decision in found] == [1] * 60
    evidence = await asyncpg.connect(postgres_server.dsn)
    assert await evidence.fetchval("SELECT n_outcomes FROM evidence") == 60
    await evidence.close()
    assert len(await evidence_differences(database)) == 0
    await journal.close()
    await database.close()
