"""Evaluating a candidate from the log in a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from service.domain.decision import LoggedRound
from service.evaluation.candidate import CandidateConfig
from service.evaluation.evaluate import evaluate
from service.store.connection.pool import Database
from service.store.evidence.evidence import PostgresEvidence
from service.store.log.journal import PostgresJournal
from service.store.log.rounds import rounds
from tests.integration.stores import (
    NOW,
    TENANT,
    Stores,
    a_decision,
    a_feedback,
    an_outcome,
    answered,
    rate,
)
from tests.service.world import ARMS, World, opened

LATER = NOW + timedelta(days=1)
N = 220


@pytest.fixture
def stores(database: Database) -> Stores:
    return Stores(PostgresJournal(database), PostgresEvidence(database))


async def read(database: Database, tenant: str = TENANT) -> list[LoggedRound]:
    return [logged async for logged in rounds(database, tenant, NOW, LATER)]


async def written(world: World, stores: Stores) -> None:
    """Copy everything in a world's store to PostgreSQL."""
    for decision_id, decision in world.store.decisions.items():
        await stores.journal.log_decision(decision)
        await stores.journal.log_outcome(world.store.outcomes[decision_id], [])
        for stored in world.store.events.get(decision_id, []):
            feedback = a_feedback(stored.event.score, decision.query.request_id)
            await stores.evidence.learn(feedback, stored.event.reward)


async def test_the_running_settings_are_estimated_at_the_plain_mean(
    database: Database, stores: Stores, tmp_path: Path
) -> None:
    luck = np.random.default_rng(0)
    async with opened(tmp_path) as world:
        for i in range(N):
            await world.ask(f"topic {i % 5} number {i}", request_id=f"r-{i}")
            await world.rate(f"r-{i}", float(luck.uniform() < 0.7))
            world.clock.advance(1.0)
        await world.background.drain(5.0)
        await written(world, stores)
        began, ended = world.clock.now - timedelta(days=1), world.clock.now

    running = CandidateConfig(world.parts.router.knobs, ARMS, "small", {arm.arm_id: arm for arm in ARMS})
    log: AsyncIterator[LoggedRound] = rounds(database, TENANT, began, ended)
    evaluation = await evaluate(log, running, began, ended)

    assert evaluation.refusal is None
    assert (evaluation.n_rounds, evaluation.measures["reward"].n) == (N, N)
    for measured in evaluation.measures.values():
        assert measured.effective_n == pytest.approx(N, rel=1e-12)
        for by in ("ips", "snips"):
            assert measured.by[by].candidate.value == pytest.approx(measured.logged.value, rel=1e-12)


async def test_a_round_has_the_newest_score_and_the_answers_cost_and_latency(
    database: Database, stores: Stores
) -> None:
    await answered(stores, "r1")
    await rate(stores, 0.2, "r1")
    await rate(stores, 0.75, "r1")

    (logged,) = await read(database)

    assert (logged.decided_at, logged.arm_id, logged.n_prompt_tokens) == (NOW, "small", 2)
    assert (logged.reward, logged.cost_usd, logged.latency_s) == (0.75, 0.000123456, 1.25)
    assert [c["arm_id"] for c in logged.explanation["candidates"]] == ["small", "large"]


async def test_a_withdrawn_score_and_a_failed_call_leave_nothing_to_measure(
    database: Database, stores: Stores
) -> None:
    failed = a_decision("r1")
    await stores.journal.log_decision(failed)
    await stores.journal.log_outcome(an_outcome(failed, status="failed"), [])
    await rate(stores, 0.5, "r1")
    await stores.evidence.learn(a_feedback(None, "r1"), None)

    (logged,) = await read(database)

    assert (logged.reward, logged.cost_usd, logged.latency_s) == (None, None, None)


async def test_only_the_routers_own_decisions_of_the_tenant_and_range_count(
    database: Database, stores: Stores
) -> None:
    made = a_decision("r1")
    pinned = replace(a_decision("r2"), kind="pinned")
    cached = replace(a_decision("r3"), kind="cache")
    silent = a_decision("r4", learn=False)
    others = a_decision("r5", tenant="other")
    early = replace(a_decision("r6"), decided_at=NOW - timedelta(seconds=1))
    late = replace(a_decision("r7"), decided_at=LATER)
    refused = replace(a_decision("r8"), kind="default", candidates=())
    for decision in (made, pinned, cached, silent, others, early, late, refused):
        await stores.journal.log_decision(decision)

    assert len(await read(database)) == 1
    assert len(await read(database, "other")) == 1
