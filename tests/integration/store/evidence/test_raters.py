"""Who rates is logged and counts in the histories; on the fake, the embedded PostgreSQL and a system one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from bandit.drift import ALARM, LARGEST_SHARE, ArmHistory
from service.domain.feedback import Rater
from service.learning.rewards import reward_of
from service.store.connection.pool import Database
from service.store.evidence.evidence import PostgresEvidence
from service.store.evidence.rebuild import evidence_differences, rebuild_evidence
from service.store.log.journal import PostgresJournal
from tests.integration.stores import NOW, TENANT, Stores, a_decision, a_feedback

APP, OTHER = UUID(int=1), UUID(int=2)


async def rated(stores: Stores, name: str, scores: list[float], key_id: UUID | None, after_s: float) -> None:
    """Log and rate decisions of the arm `small`, a second apart."""
    for i, score in enumerate(scores):
        moment = NOW + timedelta(seconds=after_s + i)
        await stores.journal.log_decision(replace(a_decision(f"{name}-{i}"), decided_at=moment))
        feedback = replace(a_feedback(score, f"{name}-{i}"), rater=Rater(key_id, "judge"))
        await stores.evidence.learn(feedback, reward_of(feedback))


def history(stores: Stores) -> ArmHistory:
    return stores.evidence.histories(TENANT)["small"]


async def test_a_record_shows_who_rated(stores: Stores) -> None:
    await rated(stores, "good", [0.9], APP, after_s=0)
    await rated(stores, "bad", [0.1], None, after_s=1)

    records = [await stores.journal.record(TENANT, name) for name in ("good-0", "bad-0")]

    said = [event for record in records if record is not None for event in record["feedback"]]
    assert [(event["key_id"], event["source"]) for event in said] == [(str(APP), "judge"), (None, "judge")]


async def test_the_zeros_of_one_key_do_not_discard_what_another_key_said(stores: Stores) -> None:
    await rated(stores, "good", [0.9] * 20, APP, after_s=0)

    await rated(stores, "bad", [0.0] * 30, OTHER, after_s=20)

    assert (history(stores).n_changes, history(stores).epoch.rated.n) == (0, 50)
    assert history(stores).fall.statistic == LARGEST_SHARE
    assert history(stores).fall.shares == ((str(OTHER), LARGEST_SHARE),)


async def test_a_failure_that_two_keys_report_is_a_change(stores: Stores) -> None:
    await rated(stores, "good", [0.9] * 20, APP, after_s=0)
    await rated(stores, "bad", [0.0] * 7, OTHER, after_s=20)

    await rated(stores, "bad too", [0.0] * 3, APP, after_s=27)

    assert (history(stores).n_changes, history(stores).is_fallen) == (1, True)


async def test_callers_without_a_key_are_one_rater(stores: Stores) -> None:
    await rated(stores, "good", [0.9] * 20, None, after_s=0)

    await rated(stores, "bad", [0.0] * 10, None, after_s=20)

    assert [rater for rater, _ in history(stores).raters.latest] == [""]
    assert history(stores).fall.statistic > ALARM
    assert history(stores).n_changes == 0


# --- PostgreSQL alone ------------------------------------------------------------------------------------


async def test_raters_are_logged_and_every_replica_and_rebuild_has_the_same_shares(
    database: Database,
) -> None:
    stores = Stores(PostgresJournal(database), PostgresEvidence(database))
    other = PostgresEvidence(database)
    await rated(stores, "good", [0.9] * 5, APP, after_s=0)
    await asyncio.gather(
        rated(stores, "a", [0.1, 0.7, 0.3], APP, after_s=5),
        rated(Stores(stores.journal, other), "b", [0.2, 0.0, 0.6], OTHER, after_s=5.5),
        rated(stores, "c", [0.3, 0.0], None, after_s=6.25),
    )
    await stores.evidence.refresh()  # type: ignore[attr-defined]
    await other.refresh()

    async with database.connection() as connection:
        events = await connection.fetch("SELECT DISTINCT key_id, source FROM feedback_events")
        found = await evidence_differences(database)
        await connection.execute("UPDATE histories SET raters = '{}', fall_statistic = 0")
    repaired = await rebuild_evidence(database)
    rebuilt = PostgresEvidence(database)
    await rebuilt.refresh()

    assert {(row["key_id"], row["source"]) for row in events} == {(k, "judge") for k in (APP, OTHER, None)}
    assert (len(found), len(repaired)) == (0, 1)
    assert rebuilt.histories(TENANT) == other.histories(TENANT) == stores.evidence.histories(TENANT)
    assert {rater for rater, _ in history(stores).fall.shares} == {str(APP), str(OTHER), ""}
