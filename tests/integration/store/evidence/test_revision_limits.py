"""Old ratings, and ratings that were replaced often, stay."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from service.domain.feedback import FeedbackStatus, RevisionLimits
from service.learning.rewards import reward_of
from service.store.connection.pool import Database
from service.store.evidence.evidence import PostgresEvidence
from service.store.evidence.rebuild import evidence_differences
from service.store.log.journal import PostgresJournal
from tests.integration.stores import NOW, TENANT, Stores, a_feedback, answered

LIMITS = RevisionLimits(within=timedelta(days=30), most=2)


def stores_of(database: Database) -> Stores:
    return Stores(PostgresJournal(database), PostgresEvidence(database, LIMITS))


async def rated(
    stores: Stores, score: float | None, days: float = 1, session_id: str | None = None
) -> FeedbackStatus:
    received_at = NOW + timedelta(days=days)
    feedback = replace(a_feedback(score), received_at=received_at, session_id=session_id)
    return (await stores.evidence.learn(feedback, reward_of(feedback))).status


async def test_an_old_rating_is_neither_replaced_nor_withdrawn(database: Database) -> None:
    stores = stores_of(database)
    await answered(stores)
    await rated(stores, 0.9, days=40)  # the first one comes at any time

    statuses = [await rated(stores, score, days=41) for score in (0.0, None, 0.9)]

    assert statuses == ["closed", "closed", "duplicate"]
    assert float(stores.evidence.sums(TENANT)["small"].reward_sum) == 0.9
    assert len(await evidence_differences(database)) == 0


async def test_a_rating_is_replaced_a_limited_number_of_times(database: Database) -> None:
    stores = stores_of(database)
    await answered(stores)

    statuses = [await rated(stores, score) for score in (0.1, 0.2, 0.3, 0.4, None, 0.5)]

    assert statuses == ["applied", "revised", "revised", "closed", "withdrawn", "closed"]


async def test_the_shares_of_a_conversation_follow_its_score_however_often_it_changes(
    database: Database,
) -> None:
    stores = stores_of(database)
    await answered(stores)

    statuses = [await rated(stores, score / 10, session_id="s") for score in range(6)]

    assert statuses == ["applied", *["revised"] * 5]


async def test_the_shares_of_a_conversation_use_up_no_replacement(database: Database) -> None:
    stores = stores_of(database)
    await answered(stores)
    for score in range(6):
        await rated(stores, score / 10, session_id="s")

    statuses = [await rated(stores, score) for score in (0.1, 0.2, 0.3, 0.4)]

    assert statuses == ["revised", "revised", "revised", "closed"]
    assert await rated(stores_of(database), 0.5) == "closed"
    assert len(await evidence_differences(database)) == 0
