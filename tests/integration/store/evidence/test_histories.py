"""The contract of the arms' histories, tested on the fake, the embedded PostgreSQL and a system one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest

from bandit.drift import ALARM, BEGINNING, ArmHistory, RatedSums, Rating, Score, learn
from service.store.connection.migrate import migrate, packaged_migrations
from service.store.connection.pool import Database
from service.store.evidence.evidence import PostgresEvidence
from service.store.evidence.rebuild import evidence_differences
from service.store.log.journal import PostgresJournal
from tests.integration.postgres_server import Cluster
from tests.integration.stores import (
    NOW,
    TENANT,
    Stores,
    a_candidate,
    a_decision,
    a_feedback,
    a_reward,
    an_outcome,
    answered,
    rate,
)


def history(stores: Stores, arm_id: str = "small") -> ArmHistory:
    return stores.evidence.histories(TENANT).get(arm_id, ArmHistory())


async def decided(stores: Stores, request_id: str, *, after_s: float, n_changes: int = 0) -> float:
    """Log a decision at a moment of its own; returns the moment in Unix time."""
    decision = a_decision(request_id)
    prior_state = replace(decision.candidates[0].prior_state, n_changes=n_changes)
    moment = NOW + timedelta(seconds=after_s)
    candidates = (replace(decision.candidates[0], prior_state=prior_state), a_candidate("large", 0.3))
    await stores.journal.log_decision(replace(decision, decided_at=moment, candidates=candidates))
    return moment.timestamp()


async def test_a_score_is_compared_with_the_prediction_of_its_decision(stores: Stores) -> None:
    await answered(stores)

    await rate(stores, 0.5)

    assert history(stores).epoch.rated == RatedSums(1.0, 0.5)
    assert history(stores).n_predicted == 1.0
    assert history(stores).squared_errors == pytest.approx((0.09, 0.0961, 0.0841, 0.09), abs=1e-6)
    assert history(stores).fall.statistic == pytest.approx(0.3 / 0.4 - 0.5)
    assert (history(stores).newest, history(stores).n_rated) == (NOW.timestamp(), 3.0)


async def test_withdrawing_restores_sums_and_errors(stores: Stores) -> None:
    await answered(stores)
    await rate(stores, 0.5)

    await stores.evidence.learn(a_feedback(None), None)

    assert history(stores).epoch.rated == RatedSums()
    assert history(stores).n_predicted == 0.0
    assert history(stores).squared_errors == (0.0, 0.0, 0.0, 0.0)


async def test_only_the_first_score_of_a_request_counts_for_change_detection(stores: Stores) -> None:
    await answered(stores)
    await rate(stores, 0.5)
    before = history(stores).fall.statistic

    for score in (0.0, 0.1, 0.0):
        await rate(stores, score)

    assert history(stores).fall.statistic == before
    assert history(stores).epoch.rated == RatedSums(1.0, 0.0)


async def test_a_score_that_moves_to_another_arm_leaves_the_first(stores: Stores) -> None:
    decision = a_decision()
    await stores.journal.log_decision(decision)
    await rate(stores, 1.0)
    await stores.journal.log_outcome(an_outcome(decision, arm_id="large", kind="fallback"), [])

    await rate(stores, 0.25)

    assert history(stores, "small").epoch.rated == RatedSums()
    assert history(stores, "large").epoch.rated == RatedSums(1.0, 0.25)
    assert history(stores, "large").n_predicted == 1.0


async def test_a_decision_with_learning_off_leaves_no_history(stores: Stores) -> None:
    await answered(stores, learn=False)

    await rate(stores, 0.5)

    assert history(stores) == ArmHistory()


async def test_a_failing_arm_starts_a_new_epoch_and_later_scores_of_older_decisions_do_not_count(
    stores: Stores,
) -> None:
    early = [f"good{i}" for i in range(20)]
    for i, request_id in enumerate(early):
        await decided(stores, request_id, after_s=i)
        await rate(stores, 0.9, request_id)
    await decided(stores, "late", after_s=18.5)
    for i in range(12):
        await decided(stores, f"bad{i}", after_s=100 + i)
        await rate(stores, 0.0, f"bad{i}")
    changed = history(stores)

    await rate(stores, 0.9, "late")

    assert (changed.n_changes, changed.is_fallen) == (1, True)
    assert 0 < changed.epoch.rated.n <= ALARM
    assert changed.epoch.rated.reward_sum == 0.0
    assert changed.epoch.started_at > BEGINNING
    assert history(stores).epoch == changed.epoch


@pytest.mark.parametrize("seed", [1, 2])
async def test_the_history_is_the_fold_of_the_scores_in_order(stores: Stores, seed: int) -> None:
    rng = random.Random(seed)
    moments = {f"r{i}": await decided(stores, f"r{i}", after_s=i) for i in range(8)}
    standing: dict[str, Score | None] = {}
    expected = ArmHistory()

    for request_id in rng.choices(list(moments), k=60):
        reward = rng.choice([None, 0.0, 0.25, 1.0])
        score = None if reward is None else Score(reward, 0.7)
        if (before := standing.get(request_id)) != score:
            expected = learn(
                expected,
                Rating(
                    moments[request_id],
                    3.0,
                    0,
                    (0.8, 0.81, 0.79, 0.8),
                    0.4,
                    score,
                    before,
                    request_id not in standing,
                ),
            )
            standing[request_id] = score
        await stores.evidence.learn(
            a_feedback(reward, request_id), None if reward is None else a_reward(str(reward), "0.7")
        )

    assert history(stores) == expected


# --- PostgreSQL alone ------------------------------------------------------------------------------------


async def test_arms_rated_at_once_by_many_are_folded_in_the_order_of_their_events(
    database: Database,
) -> None:
    stores = Stores(PostgresJournal(database), PostgresEvidence(database))
    requests = [f"r{i}" for i in range(40)]
    await asyncio.gather(*(answered(stores, r, arm_id="small") for r in requests))

    # near the prediction, so that no order raises an alarm
    await asyncio.gather(*(rate(stores, 0.7 + 0.1 * (i % 3), r) for i, r in enumerate(requests)))

    assert len(await evidence_differences(database)) == 0
    assert history(stores).epoch.rated.n == 40


async def test_another_replica_sees_the_same_history(database: Database) -> None:
    stores = Stores(PostgresJournal(database), PostgresEvidence(database))
    other = PostgresEvidence(database)
    await other.refresh()
    await answered(stores)
    await rate(stores, 0.5)

    await other.refresh()

    assert other.histories(TENANT) == stores.evidence.histories(TENANT) != {}


@pytest.fixture
async def before_histories(cluster: Cluster) -> AsyncIterator[Database]:
    """A database with the schema before histories."""
    database = Database(await cluster.empty_database(), connect_timeout_s=10.0, command_timeout_s=10.0)
    await migrate(database, packaged_migrations()[:6])
    yield database
    await database.close()


_OLD_DECISION = """
INSERT INTO decisions
    (decision_id, tenant, request_id, body_digest, decided_at, dialect, stream, kind, arm_id, propensity,
     n_chars, n_prompt_tokens, learn, degraded, explanation)
VALUES ($1, $2, gen_random_uuid()::text, '', $3, 'openai', false, 'exploit', 'small', 1, 0, 0, true, '{}',
    '{"candidates": []}')
"""
_OLD_EVENT = """
INSERT INTO feedback_events (decision_id, tenant, score, reward, weight, arm_id, received_at)
VALUES ($1, $2, 0.5, $3, $4, 'small', now())
"""


async def test_feedback_older_than_histories_still_counts(before_histories: Database) -> None:
    ratings = [(Decimal("0.333333"), Decimal("0.7")), (Decimal("0.9"), Decimal(1)), (None, None)]
    for i in range(3):
        async with before_histories.connection() as connection:
            decision_id = uuid4()
            await connection.execute(_OLD_DECISION, decision_id, TENANT, NOW + timedelta(seconds=i))
            for reward, weight in ratings[: i + 1]:
                await connection.execute(_OLD_EVENT, decision_id, TENANT, reward, weight)

    await migrate(before_histories, packaged_migrations())

    found = await evidence_differences(before_histories)
    assert found.histories == {}
    evidence = PostgresEvidence(before_histories)
    await evidence.refresh()
    assert evidence.histories(TENANT)["small"].epoch.rated.n == pytest.approx(1.7)
