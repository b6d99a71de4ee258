"""The contract of the evidence, tested on the fake, the embedded PostgreSQL and a system one."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import asyncpg
import numpy as np
import pytest

from bandit.drift import RatedSums
from service.domain.arm import ArmSums
from service.domain.feedback import Experience, Learned, Pending
from service.errors import StoreUnavailable, UnknownRequest
from service.store.connection.pool import Database
from service.store.evidence.evidence import PostgresEvidence
from service.store.evidence.rebuild import evidence_differences, experiences, rebuild_evidence
from service.store.log.journal import PostgresJournal
from tests.integration.postgres_server import PostgresServer, migrate_database
from tests.integration.stores import (
    ENCODER,
    NOW,
    TENANT,
    Stores,
    a_decision,
    a_feedback,
    a_reward,
    an_outcome,
    answered,
    rate,
    without_context,
)


def rated(stores: Stores, arm_id: str = "small") -> tuple[Decimal | int, Decimal | int]:
    """The weight and reward of an arm."""
    sums = stores.evidence.sums(TENANT).get(arm_id, ArmSums())
    return sums.n, sums.reward_sum


async def test_the_newest_rated_decisions_are_those_rated_last(stores: Stores) -> None:
    for request_id in ("r1", "r2", "r3", "unrated"):
        await answered(stores, request_id)
    for request_id in ("r2", "r3", "r1"):
        await rate(stores, 0.5, request_id)

    newest = await stores.evidence.rated(TENANT, ENCODER, 2)

    assert {e.request_id for e in newest} == {"r1", "r3"}

    await rate(stores, 0.75, "r2")
    rewards = {e.request_id: e.reward for e in await stores.evidence.rated(TENANT, ENCODER, 100)}

    assert rewards == {"r1": 0.5, "r2": 0.75, "r3": 0.5}


async def test_withdrawn_scores_and_those_of_others_are_not_among_the_rated(stores: Stores) -> None:
    await answered(stores, "r1")
    await rate(stores, 0.5, "r1")

    assert await stores.evidence.rated("another", ENCODER, 100) == []
    assert await stores.evidence.rated(TENANT, "another encoder", 100) == []

    await stores.evidence.learn(a_feedback(None), None)

    assert await stores.evidence.rated(TENANT, ENCODER, 100) == []


# --- learning ------------------------------------------------------------------------------------------


async def test_feedback_is_evidence_on_the_arm_that_answered(stores: Stores) -> None:
    decision = a_decision()
    await stores.journal.log_decision(decision)
    await stores.journal.log_outcome(an_outcome(decision, arm_id="large", kind="fallback"), [])

    learned = await stores.evidence.learn(a_feedback(0.8), a_reward("0.8", "0.5"))

    assert (learned.status, learned.arm_id, learned.reward) == ("applied", "large", 0.8)
    assert learned.decision_id == decision.decision_id
    assert rated(stores, "large") == (Decimal("0.5"), Decimal("0.4"))
    assert rated(stores, "small") == (0, 0)


async def test_feedback_before_any_outcome_is_evidence_on_the_decided_arm(stores: Stores) -> None:
    await stores.journal.log_decision(a_decision())

    learned = await stores.evidence.learn(a_feedback(1.0), a_reward("1"))

    assert learned.arm_id == "small"
    assert rated(stores) == (1, 1)


async def test_feedback_on_an_unknown_request_is_rejected(stores: Stores) -> None:
    with pytest.raises(UnknownRequest):
        await stores.evidence.learn(a_feedback(1.0), a_reward("1"))


async def test_a_tenant_cannot_rate_the_request_of_another(stores: Stores) -> None:
    await answered(stores)

    with pytest.raises(UnknownRequest):
        await stores.evidence.learn(a_feedback(1.0, tenant="other"), a_reward("1"))


async def test_the_same_feedback_again_changes_nothing(stores: Stores) -> None:
    await answered(stores)
    await stores.evidence.learn(a_feedback(0.5, text="fine"), a_reward("0.5"))

    again = await stores.evidence.learn(a_feedback(0.5, text="fine"), a_reward("0.5"))

    assert (again.status, again.event_id, again.reward) == ("duplicate", None, 0.5)
    assert rated(stores) == (1, Decimal("0.5"))


async def test_another_score_replaces_the_first(stores: Stores) -> None:
    await answered(stores)
    await rate(stores, 0.9)

    revised = await stores.evidence.learn(a_feedback(0.1), a_reward("0.1"))

    assert revised.status == "revised"
    assert rated(stores) == (1, Decimal("0.1"))


async def test_another_text_is_a_revision(stores: Stores) -> None:
    await answered(stores)
    await rate(stores, 0.9)

    assert (await stores.evidence.learn(a_feedback(0.9, text="why"), a_reward("0.9"))).status == "revised"


async def test_withdrawing_removes_the_evidence(stores: Stores) -> None:
    await answered(stores)
    await rate(stores, 0.9)

    withdrawn = await stores.evidence.learn(a_feedback(None), None)

    assert (withdrawn.status, withdrawn.reward) == ("withdrawn", None)
    assert rated(stores) == (0, 0)


async def test_withdrawing_nothing_changes_nothing(stores: Stores) -> None:
    await answered(stores)

    assert (await stores.evidence.learn(a_feedback(None), None)).status == "duplicate"


async def test_a_withdrawn_score_can_be_given_again(stores: Stores) -> None:
    await answered(stores)
    await rate(stores, 0.9)
    await stores.evidence.learn(a_feedback(None), None)

    again = await stores.evidence.learn(a_feedback(0.9), a_reward("0.9"))

    assert again.status == "applied"
    assert rated(stores) == (1, Decimal("0.9"))


async def test_a_revision_removes_the_score_of_the_arm_that_was_rated_first(stores: Stores) -> None:
    decision = a_decision()
    await stores.journal.log_decision(decision)
    await rate(stores, 1.0)
    await stores.journal.log_outcome(an_outcome(decision, arm_id="large", kind="fallback"), [])

    await stores.evidence.learn(a_feedback(0.25), a_reward("0.25"))

    assert rated(stores, "small") == (0, 0)
    assert rated(stores, "large") == (1, Decimal("0.25"))


async def test_feedback_on_a_decision_with_learning_off_is_stored_and_adds_nothing(
    stores: Stores,
) -> None:
    await answered(stores, learn=False)

    learned = await stores.evidence.learn(a_feedback(1.0), a_reward("1"))

    assert learned.status == "not_learned"
    assert learned.event_id is not None
    assert dict(stores.evidence.sums(TENANT)) == {}
    assert await stores.evidence.pending(10) == []


async def test_events_are_numbered_in_the_order_of_arrival(stores: Stores) -> None:
    await answered(stores)

    first = await stores.evidence.learn(a_feedback(0.1), a_reward("0.1"))
    second = await stores.evidence.learn(a_feedback(0.2), a_reward("0.2"))

    assert first.event_id is not None
    assert second.event_id is not None
    assert first.event_id < second.event_id


# --- at once -------------------------------------------------------------------------------------------


async def test_the_last_of_fifty_revisions_at_once_counts(stores: Stores) -> None:
    await answered(stores)
    scores = [round(0.01 * i, 2) for i in range(50)]

    learned = await asyncio.gather(*(stores.evidence.learn(a_feedback(s), a_reward(str(s))) for s in scores))

    last = max(learned, key=lambda revision: revision.event_id or 0)
    assert rated(stores) == (1, Decimal(str(last.reward)))


async def test_learners_on_one_arm_at_once_add_exactly(stores: Stores) -> None:
    requests = [f"r{i}" for i in range(40)]
    await asyncio.gather(*(answered(stores, request_id) for request_id in requests))

    await asyncio.gather(*(rate(stores, 0.1, request_id) for request_id in requests))

    assert rated(stores) == (40, Decimal("4.0"))


async def test_the_same_feedback_sent_many_times_at_once_counts_once(stores: Stores) -> None:
    await answered(stores)

    done = await asyncio.gather(*(stores.evidence.learn(a_feedback(0.5), a_reward("0.5")) for _ in range(10)))

    assert sorted(learned.status for learned in done) == ["applied"] + ["duplicate"] * 9
    assert rated(stores) == (1, Decimal("0.5"))


# --- any history ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Score:
    """A score of one request; `score=None` withdraws it."""

    request_id: str
    score: float | None


def a_history(seed: int) -> list[Score]:
    rng = random.Random(seed)
    scores = [None, 0.0, 0.1, 0.333333, 1.0]
    return [Score(f"r{rng.randrange(6)}", rng.choice(scores)) for _ in range(60)]


async def learn(stores: Stores, score: Score) -> Learned:
    reward = None if score.score is None else a_reward(str(score.score), "0.7")
    return await stores.evidence.learn(a_feedback(score.score, score.request_id), reward)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_evidence_is_the_fold_of_any_history(stores: Stores, seed: int) -> None:
    arms = ("small", "large", "small", "large", "small", "small")
    for i, arm_id in enumerate(arms):
        await answered(stores, f"r{i}", arm_id=arm_id)
    history = a_history(seed)

    for score in history:
        await learn(stores, score)

    newest = {score.request_id: score.score for score in history}
    scores = [Decimal(str(newest[f"r{i}"])) for i in (0, 2, 4, 5) if newest.get(f"r{i}") is not None]
    assert rated(stores) == (Decimal("0.7") * len(scores), Decimal("0.7") * sum(scores))


@pytest.mark.parametrize("seed", [4, 5])
async def test_rebuilding_after_any_concurrent_history_finds_no_difference(
    database: Database, seed: int
) -> None:
    evidence = PostgresEvidence(database)
    stores = Stores(PostgresJournal(database, snapshot=evidence.snapshot), evidence)
    await asyncio.gather(*(answered(stores, f"r{i}") for i in range(6)))

    await asyncio.gather(*(learn(stores, score) for score in a_history(seed)))

    assert len(await evidence_differences(database)) == 0


async def test_rebuilding_counts_the_answering_call_or_all_calls_if_only_their_sum_is_known(
    database: Database, dsn: str
) -> None:
    stores = Stores(PostgresJournal(database), PostgresEvidence(database))
    for request_id in ("older", "newer"):
        decision = a_decision(request_id)
        outcome = an_outcome(decision, cost_usd=Decimal("0.03"), call_cost_usd=Decimal("0.01"))
        await stores.journal.log_decision(decision)
        await stores.journal.log_outcome(outcome, [])
        await rate(stores, 0.5, request_id)
    assert len(await evidence_differences(database)) == 0
    connection = await asyncpg.connect(dsn)
    await connection.execute(
        "UPDATE outcomes SET call_cost_usd = NULL WHERE decision_id IN "
        "(SELECT decision_id FROM decisions WHERE request_id = 'older')"
    )
    await connection.execute("UPDATE evidence SET cost_usd_sum = 0.04, cost_usd_squares = 0.001")
    await connection.close()

    assert len(await evidence_differences(database)) == 0
    found = {e.request_id: e.cost_usd async for e in experiences(database, ENCODER)}
    assert found == {"older": 0.03, "newer": 0.01}


async def test_rebuilding_repairs_what_differs(database: Database, dsn: str) -> None:
    evidence = PostgresEvidence(database)
    stores = Stores(PostgresJournal(database), evidence)
    await answered(stores)
    await rate(stores, 0.5)
    connection = await asyncpg.connect(dsn)
    await connection.execute(
        "UPDATE evidence SET n = n + 3, n_outcomes = 0, cost_usd_squares = cost_usd_squares + 2, "
        "latency_s_squares = 0"
    )
    await connection.execute("UPDATE histories SET n = 7, is_fallen = true")
    await connection.close()

    found = await rebuild_evidence(database)

    expected = ArmSums(
        n=Decimal(-3),
        n_outcomes=1,
        cost_usd_squares=Decimal(-2),
        latency_s_squares=Decimal("1.5625"),
    )
    assert found.sums == {(TENANT, "small"): expected}
    assert found.histories.keys() == {(TENANT, "small")}
    assert len(await evidence_differences(database)) == 0
    await evidence.refresh()
    assert rated(stores) == (1, Decimal("0.5"))
    assert evidence.histories(TENANT)["small"].epoch.rated == RatedSums(1.0, 0.5)


async def test_rebuilding_repairs_what_a_replica_without_squares_added(database: Database, dsn: str) -> None:
    evidence = PostgresEvidence(database)
    stores = Stores(PostgresJournal(database), evidence)
    decision = a_decision()
    await stores.journal.log_decision(decision)
    await stores.journal.log_outcome(an_outcome(decision), [])
    connection = await asyncpg.connect(dsn)
    await connection.execute("UPDATE evidence SET cost_usd_squares = 0, latency_s_squares = 0")
    await connection.close()

    # It is subtracted with the squares that were never added.
    await stores.journal.log_outcome(an_outcome(decision, after_s=9.0, status="failed"), [])
    await evidence.refresh()
    assert evidence.sums(TENANT)["small"].latency_s_squares == Decimal("-1.5625")
    await rebuild_evidence(database)

    await evidence.refresh()
    assert evidence.sums(TENANT)["small"] == ArmSums()


async def test_rebuilding_while_others_learn_loses_nothing(database: Database) -> None:
    stores = Stores(PostgresJournal(database), PostgresEvidence(database))
    requests = [f"r{i}" for i in range(20)]
    await asyncio.gather(*(answered(stores, request_id) for request_id in requests))

    await asyncio.gather(
        rebuild_evidence(database), *(rate(stores, 0.5, request_id) for request_id in requests)
    )

    assert len(await evidence_differences(database)) == 0
    assert rated(stores) == (20, 10)


# --- the memory's queue --------------------------------------------------------------------------------


def same(one: Experience | None, other: Experience | None) -> bool:
    assert one is not None
    assert other is not None
    nowhere = np.zeros(0, dtype=np.float32)
    is_equal = replace(one, context=nowhere) == replace(other, context=nowhere)
    return is_equal and np.array_equal(one.context, other.context)


async def pending_of(stores: Stores) -> Pending:
    (pending,) = await stores.evidence.pending(10)
    return pending


async def test_a_rated_decision_waits_to_be_remembered(stores: Stores) -> None:
    decision = a_decision()
    await stores.journal.log_decision(decision)
    await stores.journal.log_outcome(an_outcome(decision), [])
    learned = await stores.evidence.learn(a_feedback(0.5), a_reward("0.5", "0.25"))

    pending = await pending_of(stores)

    [the_same] = await stores.evidence.pending_for([decision.decision_id])
    assert the_same.event_id == pending.event_id
    assert learned.pending is not None
    assert replace(learned.pending, experience=None) == replace(pending, experience=None)
    assert same(learned.pending.experience, pending.experience)
    assert (pending.decision_id, pending.event_id) == (decision.decision_id, learned.event_id)
    experience = pending.experience
    assert experience is not None
    assert decision.context is not None
    assert np.array_equal(experience.context, decision.context)
    assert (experience.encoder, experience.arm_id, experience.request_id) == (ENCODER, "small", "r1")
    assert experience.task == "triage/v2"
    assert (experience.reward, experience.weight) == (0.5, 0.25)
    assert (experience.latency_s, experience.cost_usd) == (1.25, 0.000123456)
    assert experience.decided_at == NOW


async def test_a_remembered_decision_no_longer_waits(stores: Stores) -> None:
    decision_id = await answered(stores)
    await rate(stores, 0.5)

    assert await stores.evidence.mark_remembered([await pending_of(stores)]) == set()

    assert await stores.evidence.pending(10) == []
    assert await stores.evidence.pending_for([decision_id]) == []


async def test_a_revision_during_remembering_still_waits(stores: Stores) -> None:
    decision_id = await answered(stores)
    await rate(stores, 0.5)
    first = await pending_of(stores)
    await rate(stores, 0.75)

    assert await stores.evidence.mark_remembered([first]) == {decision_id}

    [newer] = await stores.evidence.pending_for([decision_id])
    assert newer.experience is not None
    assert newer.experience.reward == 0.75


async def test_an_older_event_applied_late_queues_the_newest_again(stores: Stores) -> None:
    await answered(stores)
    await rate(stores, 0.5)
    older = await pending_of(stores)
    await rate(stores, 0.75)
    newest = await pending_of(stores)
    assert await stores.evidence.mark_remembered([newest]) == set()

    assert await stores.evidence.mark_remembered([older]) == {older.decision_id}

    assert (await pending_of(stores)).event_id == newest.event_id


async def test_a_withdrawn_score_waits_to_be_forgotten(stores: Stores) -> None:
    await answered(stores)
    await rate(stores, 0.5)
    await stores.evidence.learn(a_feedback(None), None)

    assert (await pending_of(stores)).experience is None


async def test_without_a_context_there_is_nothing_to_remember(stores: Stores) -> None:
    decision = without_context(a_decision())
    await stores.journal.log_decision(decision)

    await rate(stores, 0.5)

    assert await stores.evidence.pending(10) == []
    assert rated(stores) == (1, Decimal("0.5"))


async def test_an_outcome_that_comes_after_the_feedback_is_remembered_too(stores: Stores) -> None:
    decision = a_decision()
    await stores.journal.log_decision(decision)
    await rate(stores, 0.5)
    await stores.evidence.mark_remembered([await pending_of(stores)])

    await stores.journal.log_outcome(an_outcome(decision), [])

    experience = (await pending_of(stores)).experience
    assert experience is not None
    assert experience.latency_s == 1.25


async def test_pending_decisions_come_oldest_first_and_limited(stores: Stores) -> None:
    decision_ids = [await answered(stores, f"r{i}") for i in range(3)]
    for i in (2, 1, 0):
        feedback = replace(a_feedback(1.0, f"r{i}"), received_at=NOW + timedelta(seconds=10 - i))
        await stores.evidence.learn(feedback, a_reward("1"))

    pending = await stores.evidence.pending(2)

    assert [p.decision_id for p in pending] == [decision_ids[2], decision_ids[1]]


async def test_all_current_experiences_of_one_encoder_can_be_read(database: Database) -> None:
    stores = Stores(PostgresJournal(database), PostgresEvidence(database))
    kept = await answered(stores, "kept")
    for request_id in ("withdrawn", "unrated"):
        await answered(stores, request_id)
    await answered(stores, "unlearned", learn=False)
    for request_id in ("kept", "withdrawn", "unlearned"):
        await rate(stores, 0.5, request_id)
    await rate(stores, 0.75, "kept")
    await stores.evidence.learn(a_feedback(None, "withdrawn"), None)

    found = [experience async for experience in experiences(database, ENCODER)]
    assert {experience.task for experience in found} == {"triage/v2"}

    assert [(e.decision_id, e.reward) for e in found] == [(kept, 0.75)]
    assert [e async for e in experiences(database, "another")] == []


# --- replicas ------------------------------------------------------------------------------------------


async def until(evidence: PostgresEvidence, n: int) -> None:
    """Wait for the snapshot to show `n` rated answers."""
    async with asyncio.timeout(20):
        while evidence.sums(TENANT).get("small", ArmSums()).n != n:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.005)


async def test_a_replica_starts_with_what_was_learned_before(database: Database) -> None:
    stores = Stores(PostgresJournal(database), PostgresEvidence(database))
    await answered(stores)
    await rate(stores, 0.5)
    replica = PostgresEvidence(database)

    await replica.start()

    assert replica.sums(TENANT)["small"].reward_sum == Decimal("0.5")
    assert replica.sums(TENANT)["small"].n_outcomes == 1
    await replica.close()


async def test_a_replica_is_notified_of_what_another_learns_without_polling(database: Database) -> None:
    stores = Stores(PostgresJournal(database), PostgresEvidence(database))
    await answered(stores)
    replica = PostgresEvidence(database, poll_every_s=3600.0)
    await replica.start()
    await database.ping()

    await rate_until_notified(stores, replica)

    assert replica.sums(TENANT)["small"].n == 1
    await replica.close()


async def rate_until_notified(stores: Stores, replica: PostgresEvidence) -> None:
    """Revise until the replica follows: it may not listen yet when the first feedback is announced."""
    async with asyncio.timeout(20):
        score = 0.0
        while replica.sums(TENANT).get("small", ArmSums()).n != 1:
            score = round(score + 0.001, 3)
            await rate(stores, score)


async def test_a_replica_polls_for_changes_without_notification(database: Database, dsn: str) -> None:
    stores = Stores(PostgresJournal(database), PostgresEvidence(database))
    await answered(stores)
    replica = PostgresEvidence(database, poll_every_s=0.01)
    await replica.start()

    connection = await asyncpg.connect(dsn)
    await connection.execute(
        "UPDATE evidence SET n = 7, version = version + 1, changed_in = pg_current_xact_id()"
    )
    await connection.close()

    await until(replica, 7)
    await replica.close()


async def test_a_change_committed_after_a_refresh_is_not_missed(database: Database, dsn: str) -> None:
    stores = Stores(PostgresJournal(database), PostgresEvidence(database))
    await answered(stores, "r1")
    await answered(stores, "r2", arm_id="large")
    replica = PostgresEvidence(database)
    slow = await asyncpg.connect(dsn)
    transaction = slow.transaction()
    await transaction.start()
    await slow.execute(
        "UPDATE evidence SET n = 7, version = version + 1, changed_in = pg_current_xact_id()"
        " WHERE arm_id = 'small'"
    )
    await rate(stores, 0.5, "r2")
    await replica.refresh()

    await transaction.commit()
    await replica.refresh()

    assert replica.sums(TENANT)["small"].n == 7
    await slow.close()


async def test_a_replica_follows_again_after_an_outage(postgres_server: PostgresServer) -> None:
    await migrate_database(postgres_server.dsn)
    database = Database(postgres_server.dsn, connect_timeout_s=10.0, retry_after_s=0.0)
    stores = Stores(PostgresJournal(database), PostgresEvidence(database))
    await answered(stores)
    replica = PostgresEvidence(database, poll_every_s=0.01)
    await replica.start()
    postgres_server.kill()
    with pytest.raises(StoreUnavailable):
        await rate(stores, 0.5)
    postgres_server.start()

    await rate(stores, 0.5)

    await until(replica, 1)
    await replica.close()
    await database.close()


# --- durability ----------------------------------------------------------------------------------------

WRITER = """
import asyncio, sys
from service.store.evidence.evidence import PostgresEvidence
from service.store.log.journal import PostgresJournal
from service.store.connection.pool import Database
from tests.integration.stores import Stores, answered, rate

async def main():
    database = Database(sys.argv[1], connect_timeout_s=10.0, command_timeout_s=10.0)
    stores = Stores(PostgresJournal(database), PostgresEvidence(database))
    for i in range(1_000_000):
        await answered(stores, f"r{i}")
        await rate(stores, 1.0, f"r{i}")
        print(i, flush=True)

asyncio.run(main())
"""


async def test_feedback_acknowledged_by_a_killed_writer_is_kept(database: Database, dsn: str) -> None:
    writer = await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, dsn, stdout=subprocess.PIPE)
    assert writer.stdout is not None
    acknowledged = [await writer.stdout.readline() for _ in range(25)]

    writer.kill()
    acknowledged += (await writer.stdout.read()).splitlines()
    await writer.wait()

    evidence = PostgresEvidence(database)
    await evidence.refresh()
    n = evidence.sums(TENANT)["small"].n
    assert n in (len(acknowledged), len(acknowledged) + 1)  # one more may have been committed
    assert len(await evidence_differences(database)) == 0


async def test_acknowledged_feedback_survives_a_crash_of_the_server(
    postgres_server: PostgresServer,
) -> None:
    await migrate_database(postgres_server.dsn)
    database = Database(postgres_server.dsn, connect_timeout_s=10.0, retry_after_s=0.0)
    stores = Stores(PostgresJournal(database), PostgresEvidence(database))
    await answered(stores)
    await rate(stores, 0.5)
    postgres_server.kill()
    postgres_server.start()

    reopened = Database(postgres_server.dsn, connect_timeout_s=10.0)
    evidence = PostgresEvidence(reopened)
    await evidence.refresh()

    assert evidence.sums(TENANT)["small"].reward_sum == Decimal("0.5")
    await database.close()
    await reopened.close()


async def test_a_decision_that_was_never_rated_is_not_pending(stores: Stores) -> None:
    assert await stores.evidence.pending_for([uuid4()]) == []
