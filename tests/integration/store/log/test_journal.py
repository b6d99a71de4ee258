"""The contract of the journal, tested on the fake, the embedded PostgreSQL and a system one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal

import asyncpg
import numpy as np
import pytest

from service.domain.arm import ArmSums
from service.domain.explanation import explanation_for_clients
from service.errors import RequestConflict, StoreUnavailable, UnknownRequest
from service.store.connection.pool import Database
from service.store.log.journal import PostgresJournal
from tests.integration.postgres_server import PostgresServer, migrate_database
from tests.integration.stores import (
    TENANT,
    Stores,
    a_decision,
    a_feedback,
    a_reward,
    an_attempt,
    an_outcome,
    rate,
    without_context,
)

# --- decisions -----------------------------------------------------------------------------------------


async def test_an_unknown_request_is_not_found(stores: Stores) -> None:
    assert await stores.journal.find(TENANT, "r1") is None
    assert await stores.journal.record(TENANT, "r1") is None


async def test_a_logged_decision_is_found_with_what_a_retry_needs(stores: Stores) -> None:
    decision = a_decision()
    await stores.journal.log_decision(decision)
    await stores.journal.log_outcome(an_outcome(decision), [an_attempt(decision), an_attempt(decision, 1)])

    found = await stores.journal.find(TENANT, "r1")

    assert found is not None
    assert found.decision_id == decision.decision_id
    assert found.body_digest == decision.query.body_digest
    assert (found.arm_id, found.propensity, found.kind) == ("small", 0.7, "exploit")
    assert found.n_attempts == 2
    assert found.probabilities == (("small", 0.7), ("large", 0.1 + 0.2))


async def test_logging_a_decision_twice_changes_nothing(stores: Stores) -> None:
    decision = a_decision()
    await stores.journal.log_decision(decision)

    await stores.journal.log_decision(decision)

    assert (await stores.journal.find(TENANT, "r1")) is not None


async def test_a_request_id_belongs_to_one_decision(stores: Stores) -> None:
    first = a_decision()
    await stores.journal.log_decision(first)

    with pytest.raises(RequestConflict):
        await stores.journal.log_decision(a_decision())

    found = await stores.journal.find(TENANT, "r1")
    assert found is not None
    assert found.decision_id == first.decision_id


async def test_one_of_concurrent_decisions_with_the_same_request_id_wins(stores: Stores) -> None:
    logging = [stores.journal.log_decision(a_decision()) for _ in range(8)]

    done = await asyncio.gather(*logging, return_exceptions=True)

    assert [type(error) for error in done if error is not None] == [RequestConflict] * 7


async def test_tenants_may_use_the_same_request_id(stores: Stores) -> None:
    ours, theirs = a_decision(), a_decision(tenant="other")
    await stores.journal.log_decision(ours)
    await stores.journal.log_decision(theirs)

    found = await stores.journal.find("other", "r1")

    assert found is not None
    assert found.decision_id == theirs.decision_id


async def test_a_decision_without_context_is_logged(stores: Stores) -> None:
    await stores.journal.log_decision(without_context(a_decision()))

    assert await stores.journal.find(TENANT, "r1") is not None


# --- the record ----------------------------------------------------------------------------------------


async def test_the_record_shows_the_explanation_of_the_decision(stores: Stores) -> None:
    decision = a_decision()
    [neighbour] = decision.neighbours
    await stores.journal.log_decision(replace(a_decision("r0"), decision_id=neighbour.decision_id))
    await stores.journal.log_decision(decision)

    record = await stores.journal.record(TENANT, "r1")

    assert record is not None
    weighed = explanation_for_clients(decision)
    assert {key: record[key] for key in weighed} == weighed
    assert (record["decision"], record["chosen_model"], record["model"]) == ("exploit", "small", "small")
    assert record["decided_at"] == "2026-07-01T12:00:00.123457+00:00"
    assert record["degraded"] == ["memory"]
    assert record["query"] == {
        "n_chars": 4,
        "n_prompt_tokens": 2,
        "digest": decision.query.body_digest.hex(),
        "text": "Why?",
    }
    assert (record["attempts"], record["outcome"], record["feedback"]) == ([], None, [])
    assert record["reward"] is None


async def test_the_record_shows_what_is_known_of_a_neighbour_that_is_not_logged(database: Database) -> None:
    decision, journal = a_decision(), PostgresJournal(database)
    await journal.log_decision(decision)

    record = await journal.record(TENANT, "r1")

    assert record is not None
    [shown], [weighed] = record["neighbours"], explanation_for_clients(decision)["neighbours"]
    assert shown == {**weighed, "decision_id": None, "request_id": None}


@pytest.mark.parametrize("holdout", [None, False, True])
async def test_the_record_shows_whether_the_request_was_held_out(
    stores: Stores, holdout: bool | None
) -> None:
    await stores.journal.log_decision(replace(a_decision(), holdout=holdout))

    record = await stores.journal.record(TENANT, "r1")

    assert record is not None
    assert record["holdout"] is holdout


async def test_the_record_shows_attempts_outcome_and_feedback(stores: Stores) -> None:
    decision = a_decision()
    await stores.journal.log_decision(decision)
    failed = an_attempt(decision, 0, status="failed", error_type="ProviderBroken", upstream_status=502)
    second = an_attempt(decision, 1, arm_id="large")
    outcome = an_outcome(decision, arm_id="large", kind="fallback")
    await stores.journal.log_outcome(outcome, [failed, second])
    await stores.evidence.learn(a_feedback(0.5, text="so so"), a_reward("0.5", "0.25"))

    record = await stores.journal.record(TENANT, "r1")

    assert record is not None
    assert (record["chosen_model"], record["model"], record["reward"]) == ("small", "large", 0.5)
    assert [a["status"] for a in record["attempts"]] == ["failed", "ok"]
    assert record["attempts"][0]["upstream_status"] == 502
    assert record["outcome"]["decision"] == "fallback"
    assert record["outcome"]["cost_usd"] == 0.000123456
    assert record["outcome"]["usage"]["completion_tokens"] == 5
    assert record["outcome"]["answer_text"] == "Because"
    assert [(e["score"], e["weight"], e["feedback_text"]) for e in record["feedback"]] == [
        (0.5, 0.25, "so so")
    ]


async def test_a_withdrawn_feedback_leaves_its_events_and_no_reward(stores: Stores) -> None:
    await stores.journal.log_decision(a_decision())
    await stores.evidence.learn(a_feedback(1.0), a_reward("1"))
    await stores.evidence.learn(a_feedback(None), None)

    record = await stores.journal.record(TENANT, "r1")

    assert record is not None
    assert record["reward"] is None
    assert [event["score"] for event in record["feedback"]] == [1.0, None]


async def test_a_text_with_nul_bytes_is_stored(stores: Stores) -> None:
    await stores.journal.log_decision(a_decision(text="a\0b"))

    record = await stores.journal.record(TENANT, "r1")

    assert record is not None
    assert record["query"]["text"] == "a\ufffdb"


async def test_an_answer_with_nul_bytes_is_stored(stores: Stores) -> None:
    decision = a_decision()
    await stores.journal.log_decision(decision)
    attempt = an_attempt(decision, finish_reason="st\0op", error_message="no\0t now")

    await stores.journal.log_outcome(an_outcome(decision, finish_reason="st\0op"), [attempt])

    record = await stores.journal.record(TENANT, "r1")
    assert record is not None
    assert record["outcome"]["finish_reason"] == record["attempts"][0]["finish_reason"] == "st\ufffdop"
    assert record["attempts"][0]["error_message"] == "no\ufffdt now"


async def test_texts_are_not_stored_unless_switched_on(database: Database) -> None:
    journal = PostgresJournal(database)
    decision = a_decision(text="secret")
    await journal.log_decision(decision)
    await journal.log_outcome(an_outcome(decision, answer_text="secret"), [])

    record = await journal.record(TENANT, "r1")

    assert "secret" not in str(record)


async def test_the_context_is_stored_as_little_endian_half_floats(database: Database, dsn: str) -> None:
    decision = a_decision()
    await PostgresJournal(database).log_decision(decision)

    connection = await asyncpg.connect(dsn)
    stored = await connection.fetchval("SELECT context FROM decisions")
    await connection.close()

    assert decision.context is not None
    assert np.array_equal(np.frombuffer(stored, "<f2", offset=1), decision.context.astype("<f2"))


# --- outcomes ------------------------------------------------------------------------------------------


async def test_an_outcome_adds_its_latency_and_dollars_to_the_arm_that_answered(stores: Stores) -> None:
    decision = a_decision()
    await stores.journal.log_decision(decision)

    await stores.journal.log_outcome(an_outcome(decision, arm_id="large", kind="fallback"), [])

    expected = ArmSums(
        n_outcomes=1,
        latency_s_sum=Decimal("1.25"),
        cost_usd_sum=Decimal("0.000123456"),
        cost_usd_squares=Decimal("0.000000015241383936"),
        latency_s_squares=Decimal("1.5625"),
    )
    assert dict(stores.evidence.sums(TENANT)) == {"large": expected}


async def test_squares_are_exact_to_the_last_digit(stores: Stores) -> None:
    decision = a_decision()
    await stores.journal.log_decision(decision)
    dear = an_outcome(decision, cost_usd=Decimal("123456789.123456789"), latency_s=123456.123456)

    await stores.journal.log_outcome(dear, [])

    sums = stores.evidence.sums(TENANT)["small"]
    assert sums.cost_usd_squares == Decimal("15241578780673678.515622620750190521")
    assert sums.latency_s_squares == Decimal("15241414418.783113383936")


async def test_the_cost_of_earlier_failed_calls_is_not_the_answering_arms(stores: Stores) -> None:
    decision = a_decision()
    outcome = an_outcome(decision, arm_id="large", cost_usd=Decimal("0.03"), call_cost_usd=Decimal("0.01"))
    await stores.journal.log_decision(decision)

    await stores.journal.log_outcome(outcome, [])
    await rate(stores, 0.5)

    assert stores.evidence.sums(TENANT)["large"].cost_usd_sum == Decimal("0.01")
    (pending,) = await stores.evidence.pending(1)
    assert pending.experience is not None
    assert pending.experience.cost_usd == 0.01
    record = await stores.journal.record(TENANT, "r1")
    assert record is not None
    assert record["outcome"]["cost_usd"] == 0.03


async def test_logging_an_outcome_twice_adds_it_once(stores: Stores) -> None:
    decision = a_decision()
    attempt = an_attempt(decision)
    await stores.journal.log_decision(decision)
    await stores.journal.log_outcome(an_outcome(decision), [attempt])

    await stores.journal.log_outcome(an_outcome(decision), [attempt])

    found = await stores.journal.find(TENANT, "r1")
    assert found is not None
    assert found.n_attempts == 1
    assert stores.evidence.sums(TENANT)["small"].n_outcomes == 1


async def test_a_later_outcome_replaces_the_first_and_its_evidence(stores: Stores) -> None:
    decision = a_decision()
    await stores.journal.log_decision(decision)
    await stores.journal.log_outcome(an_outcome(decision), [an_attempt(decision)])

    later = an_outcome(decision, after_s=9.0, arm_id="large", latency_s=0.5)
    await stores.journal.log_outcome(later, [an_attempt(decision, 1)])

    sums = stores.evidence.sums(TENANT)
    assert sums["small"] == ArmSums()
    assert sums["large"].latency_s_sum == Decimal("0.5")
    record = await stores.journal.record(TENANT, "r1")
    assert record is not None
    assert record["model"] == "large"
    assert len(record["attempts"]) == 2


async def test_an_earlier_outcome_written_late_changes_nothing(stores: Stores) -> None:
    decision = a_decision()
    await stores.journal.log_decision(decision)
    await stores.journal.log_outcome(an_outcome(decision, after_s=9.0, latency_s=0.5), [])

    await stores.journal.log_outcome(an_outcome(decision, after_s=1.0), [])

    assert stores.evidence.sums(TENANT)["small"].latency_s_sum == Decimal("0.5")


@pytest.mark.parametrize("changes", [{"status": "failed"}, {"status": "cancelled"}, {"kind": "cache"}])
async def test_an_outcome_without_an_answer_of_the_arm_adds_no_evidence(
    stores: Stores, changes: dict[str, str]
) -> None:
    decision = a_decision()
    await stores.journal.log_decision(decision)

    await stores.journal.log_outcome(replace(an_outcome(decision), **changes), [])  # type: ignore[arg-type]

    assert dict(stores.evidence.sums(TENANT)) == {}


async def test_a_decision_with_learning_off_adds_no_evidence(stores: Stores) -> None:
    decision = a_decision(learn=False)
    await stores.journal.log_decision(decision)

    await stores.journal.log_outcome(an_outcome(decision), [an_attempt(decision)])

    assert dict(stores.evidence.sums(TENANT)) == {}


async def test_an_outcome_needs_its_decision(stores: Stores) -> None:
    with pytest.raises(UnknownRequest):
        await stores.journal.log_outcome(an_outcome(a_decision()), [])


async def test_outcomes_of_many_decisions_at_once_add_up(stores: Stores) -> None:
    decisions = [a_decision(f"r{i}") for i in range(30)]
    await asyncio.gather(*(stores.journal.log_decision(d) for d in decisions))

    await asyncio.gather(*(stores.journal.log_outcome(an_outcome(d), [an_attempt(d)]) for d in decisions))

    sums = stores.evidence.sums(TENANT)["small"]
    assert (sums.n_outcomes, sums.latency_s_sum) == (30, Decimal("37.5"))


# --- while PostgreSQL is unavailable -------------------------------------------------------------------


async def test_a_database_can_be_created_while_postgresql_is_unavailable(
    postgres_server: PostgresServer,
) -> None:
    await migrate_database(postgres_server.dsn)
    postgres_server.stop()
    database = Database(
        postgres_server.dsn, connect_timeout_s=10.0, command_timeout_s=10.0, retry_after_s=0.0
    )
    journal = PostgresJournal(database)
    with pytest.raises(StoreUnavailable):
        await journal.find(TENANT, "r1")

    postgres_server.start()

    await journal.log_decision(a_decision())
    assert await journal.find(TENANT, "r1") is not None
    await database.close()


async def test_after_a_failure_calls_fail_at_once_without_a_connection(
    postgres_server: PostgresServer,
) -> None:
    database = Database(postgres_server.dsn, connect_timeout_s=10.0, retry_after_s=3600.0)
    await database.ping()
    postgres_server.kill()
    with pytest.raises(StoreUnavailable):
        await database.ping()
    postgres_server.start()

    with pytest.raises(StoreUnavailable, match="a moment ago"):
        await database.ping()

    await database.close()


async def test_a_busy_pool_does_not_count_as_unavailable(postgres_server: PostgresServer) -> None:
    database = Database(
        postgres_server.dsn,
        max_connections=1,
        connect_timeout_s=0.1,
        retry_after_s=3600.0,
    )

    async with database.connection(timeout_s=10.0):
        with pytest.raises(StoreUnavailable, match="in use"):
            await database.ping()

    await database.ping()
    await database.close()


async def test_a_call_to_a_hanging_server_fails(postgres_server: PostgresServer) -> None:
    database = Database(postgres_server.dsn, command_timeout_s=0.2, retry_after_s=0.0)
    await database.ping()
    postgres_server.freeze()

    with pytest.raises(StoreUnavailable):
        await database.ping()

    postgres_server.thaw()
    await database.close()


async def test_notes_of_an_attempt_are_in_the_record(stores: Stores) -> None:
    decision = a_decision()
    await stores.journal.log_decision(decision)
    attempts = [an_attempt(decision, notes=()), an_attempt(decision, 1, notes=("guessed\0", "and again"))]

    await stores.journal.log_outcome(an_outcome(decision), attempts)

    record = await stores.journal.record(TENANT, "r1")
    assert record is not None
    assert [a["notes"] for a in record["attempts"]] == [[], ["guessed\ufffd", "and again"]]


# --- answers -------------------------------------------------------------------------------------------


async def test_an_answers_id_names_its_request(stores: Stores) -> None:
    decision = a_decision()
    await stores.journal.log_decision(decision)
    found = [
        await stores.journal.request_named_by(TENANT, f"{prefix}{decision.decision_id.hex}")
        for prefix in ("chatcmpl-", "msg_", "resp_", "")
    ]

    assert found == ["r1"] * 4  # before there is an outcome: a stream has the id in its first chunk
    assert await stores.journal.request_named_by(TENANT, str(decision.decision_id)) == "r1"
    assert await stores.journal.request_named_by("another", f"msg_{decision.decision_id.hex}") is None


async def test_a_providers_id_names_the_request_of_its_only_answer(stores: Stores) -> None:
    decision = a_decision()
    await stores.journal.log_decision(decision)
    await stores.journal.log_outcome(replace(an_outcome(decision), answer_id="msg_01"), [])
    alone = await stores.journal.request_named_by(TENANT, "msg_01")
    foreign = await stores.journal.request_named_by("another", "msg_01")
    second = a_decision(request_id="r2")
    await stores.journal.log_decision(second)
    await stores.journal.log_outcome(replace(an_outcome(second), answer_id="msg_01"), [])

    assert (alone, foreign) == ("r1", None)
    assert await stores.journal.request_named_by(TENANT, "msg_01") is None  # two answers have it
    assert await stores.journal.request_named_by(TENANT, "msg_02") is None
