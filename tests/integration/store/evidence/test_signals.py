"""The contract of implicit signals, tested on the fake, the embedded PostgreSQL and a system one."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from decimal import Decimal
from uuid import UUID, uuid4

import pytest

from bandit.drift import ArmHistory, RatedSums
from service.commands.jobs.reconcile import reconcile
from service.domain.arm import ArmSums
from service.domain.basics import Json
from service.domain.feedback import ImplicitSignal, Signal
from service.errors import UnknownRequest
from service.learning.learner import Learner
from service.store.connection.pool import Database
from service.store.evidence.evidence import PostgresEvidence
from service.store.evidence.rebuild import evidence_differences, rebuild_evidence
from service.store.log.journal import PostgresJournal
from tests.fakes_memory import FakeMemory
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
)


def signals(signal: Signal = "empty", arm_id: str = "small", weight: str = "0.3") -> ImplicitSignal:
    return ImplicitSignal(signal, arm_id, Decimal(weight))


async def learn_signals(stores: Stores, decision_id: UUID, *signals: ImplicitSignal) -> list[ImplicitSignal]:
    return list((await stores.evidence.learn_signals(TENANT, decision_id, signals, NOW)).signals)


def sums(stores: Stores, arm_id: str = "small") -> tuple[float, float]:
    """The weight and reward of an arm."""
    known = stores.evidence.sums(TENANT).get(arm_id, ArmSums())
    return float(known.n), float(known.reward_sum)


def history(stores: Stores, arm_id: str = "small") -> ArmHistory:
    return stores.evidence.histories(TENANT).get(arm_id, ArmHistory())


async def remembered(stores: Stores, decision_id: UUID) -> tuple[str, float, float] | None:
    """The arm, reward and weight for the memory."""
    [pending] = await stores.evidence.pending_for([decision_id])
    experience = pending.experience
    return None if experience is None else (experience.arm_id, experience.reward, experience.weight)


async def shown(stores: Stores, request_id: str = "r1") -> Json:
    record = await stores.journal.record(TENANT, request_id)
    assert record is not None
    return record


async def test_a_signal_is_weak_evidence_against_its_arm(stores: Stores) -> None:
    decision_id = await answered(stores)

    assert await learn_signals(stores, decision_id, signals()) == [signals()]

    assert sums(stores) == (0.3, 0.0)
    assert history(stores).epoch.rated.n == pytest.approx(0.3, abs=1e-6)
    assert await remembered(stores, decision_id) == ("small", 0.0, 0.3)


async def test_a_signal_has_no_prediction(stores: Stores) -> None:
    decision_id = await answered(stores)

    await learn_signals(stores, decision_id, signals())

    assert (history(stores).n_predicted, history(stores).squared_errors) == (0.0, (0.0, 0.0, 0.0, 0.0))
    assert (history(stores).rise.statistic, history(stores).fall.statistic) == (0.0, 0.0)


async def test_the_same_signal_again_changes_nothing(stores: Stores) -> None:
    decision_id = await answered(stores)
    await learn_signals(stores, decision_id, signals())

    assert await learn_signals(stores, decision_id, signals()) == []

    assert sums(stores) == (0.3, 0.0)


async def test_signals_on_one_arm_add_up_to_one_rating_at_most(stores: Stores) -> None:
    decision_id = await answered(stores)

    await learn_signals(stores, decision_id, signals("provider_error", "large", "0.25"), signals())
    await learn_signals(stores, decision_id, signals("refusal", weight="0.4"), signals("reask", weight="0.5"))

    assert (sums(stores, "large"), sums(stores)) == ((0.25, 0.0), (1.0, 0.0))
    assert await remembered(stores, decision_id) == ("small", 0.0, 1.0)


async def test_a_signal_on_an_arm_that_did_not_answer_is_not_remembered(stores: Stores) -> None:
    decision_id = await answered(stores)

    await learn_signals(stores, decision_id, signals("provider_error", "large"))

    assert await remembered(stores, decision_id) is None


@pytest.mark.parametrize("is_rated_first", [False, True])
async def test_a_score_replaces_its_arms_signals(stores: Stores, is_rated_first: bool) -> None:
    decision_id = await answered(stores)
    alone = await answered(stores, "r2", arm_id="large")
    await rate(stores, 0.5, "r2")
    if is_rated_first:
        await rate(stores, 0.5)

    await learn_signals(stores, decision_id, signals(), signals("provider_error", "tiny"))
    await rate(stores, 0.5)

    assert (sums(stores), sums(stores, "tiny")) == ((1.0, 0.5), (0.3, 0.0))
    assert history(stores) == history(stores, "large")
    assert await remembered(stores, decision_id) == ("small", 0.5, 1.0)
    assert await remembered(stores, alone) == ("large", 0.5, 1.0)


async def test_signals_count_again_after_a_withdrawal(stores: Stores) -> None:
    decision_id = await answered(stores)
    await learn_signals(stores, decision_id, signals())
    await rate(stores, 0.5)

    withdrawn = await stores.evidence.learn(a_feedback(None), None)

    assert withdrawn.status == "withdrawn"
    assert sums(stores) == (0.3, 0.0)
    assert history(stores).epoch.rated == RatedSums(history(stores).epoch.rated.n, 0.0)
    assert (history(stores).n_predicted, history(stores).squared_errors) == (0.0, (0.0, 0.0, 0.0, 0.0))
    assert await remembered(stores, decision_id) == ("small", 0.0, 0.3)


async def test_a_signal_is_no_feedback_to_withdraw_or_revise(stores: Stores) -> None:
    decision_id = await answered(stores)
    await learn_signals(stores, decision_id, signals())

    nothing = await stores.evidence.learn(a_feedback(None), None)
    first = await stores.evidence.learn(a_feedback(0.0), a_reward("0"))

    assert (nothing.status, first.status) == ("duplicate", "applied")


async def test_signals_of_the_first_arm_count_after_its_score_moves_to_another(stores: Stores) -> None:
    decision = a_decision()
    await stores.journal.log_decision(decision)
    await learn_signals(stores, decision.decision_id, signals("provider_error"))
    await rate(stores, 1.0)
    await stores.journal.log_outcome(an_outcome(decision, arm_id="large", kind="fallback"), [])

    await rate(stores, 0.25)

    assert (sums(stores), sums(stores, "large")) == ((0.3, 0.0), (1.0, 0.25))


async def test_a_decision_with_learning_off_accepts_no_signal(stores: Stores) -> None:
    decision_id = await answered(stores, learn=False)

    assert await learn_signals(stores, decision_id, signals()) == []

    assert (await shown(stores))["signals"] == []
    assert dict(stores.evidence.sums(TENANT)) == {}


async def test_signals_on_an_unknown_decision_or_that_of_another_tenant_are_rejected(stores: Stores) -> None:
    decision_id = await answered(stores)

    with pytest.raises(UnknownRequest):
        await learn_signals(stores, uuid4(), signals())
    with pytest.raises(UnknownRequest):
        await stores.evidence.learn_signals("other", decision_id, [signals()], NOW)


async def test_the_record_shows_signals_beside_feedback(stores: Stores) -> None:
    decision_id = await answered(stores)
    await learn_signals(stores, decision_id, signals("provider_error", "large"), signals())
    before = await shown(stores)
    await rate(stores, 0.5)

    after = await shown(stores)

    assert (before["feedback"], before["reward"]) == ([], None)
    assert [event["score"] for event in after["feedback"]] == [0.5]
    assert after["reward"] == 0.5
    first = {"signal": "provider_error", "model": "large", "weight": 0.3, "received_at": NOW.isoformat()}
    second = {"signal": "empty", "model": "small", "weight": 0.3, "received_at": NOW.isoformat()}
    assert before["signals"] == [{**first, "counts": True}, {**second, "counts": True}]
    assert after["signals"] == [{**first, "counts": True}, {**second, "counts": False}]


# --- any history -----------------------------------------------------------------------------------------

SIGNALS: tuple[Signal, ...] = ("provider_error", "empty", "reask")
Step = tuple[str, ImplicitSignal | float | None]  # a signal on a request, or a score


def a_history(seed: int) -> list[Step]:
    rng = random.Random(seed)

    def step() -> ImplicitSignal | float | None:
        if rng.random() < 0.5:
            arm_id = rng.choice(["small", "large"])
            return signals(rng.choice(SIGNALS), arm_id, rng.choice(["0.1", "0.333333", "0.7"]))
        return rng.choice([None, 0.0, 0.25, 1.0])

    return [(f"r{rng.randrange(6)}", step()) for _ in range(80)]


async def apply(stores: Stores, ids: dict[str, UUID], step: Step) -> None:
    request_id, event = step
    if isinstance(event, ImplicitSignal):
        await learn_signals(stores, ids[request_id], event)
        return
    reward = None if event is None else a_reward(str(event))
    await stores.evidence.learn(a_feedback(event, request_id), reward)


async def decided(stores: Stores) -> dict[str, UUID]:
    """Log six requests; every second one falls back to another arm."""
    ids = {}
    for i in range(6):
        decision = replace(a_decision(f"r{i}"), decided_at=NOW.replace(second=i))
        await stores.journal.log_decision(decision)
        answer = an_outcome(decision, arm_id="large", kind="fallback") if i % 2 else an_outcome(decision)
        await stores.journal.log_outcome(answer, [])
        ids[f"r{i}"] = decision.decision_id
    return ids


def expected(history: list[Step], arm_id: str) -> tuple[float, float]:
    """The weight and reward of an arm, from the newest score and the first signal of each kind."""
    n = reward_sum = 0.0
    for i in range(6):
        events = [event for request_id, event in history if request_id == f"r{i}"]
        scores = [event for event in events if not isinstance(event, ImplicitSignal)]
        if scores and scores[-1] is not None and arm_id == ("large" if i % 2 else "small"):
            n, reward_sum = n + 1, reward_sum + scores[-1]
            continue
        first: dict[Signal, float] = {}
        for event in events:
            if isinstance(event, ImplicitSignal) and event.arm_id == arm_id:
                first.setdefault(event.signal, float(event.weight))
        n += min(1.0, sum(first.values()))
    return n, reward_sum


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_sums_and_histories_are_those_of_the_standing_feedback(stores: Stores, seed: int) -> None:
    history_ = a_history(seed)
    ids = await decided(stores)

    for step in history_:
        await apply(stores, ids, step)

    for arm_id in ("small", "large"):
        assert sums(stores, arm_id) == pytest.approx(expected(history_, arm_id))
        rated = history(stores, arm_id).epoch.rated
        assert (rated.n, rated.reward_sum) == pytest.approx(expected(history_, arm_id), abs=1e-4)


@pytest.mark.parametrize("seed", [4, 5])
async def test_the_order_of_events_on_different_decisions_does_not_change_sums(
    stores: Stores, seed: int
) -> None:
    history_ = a_history(seed)
    by_decision = sorted(history_, key=lambda step: step[0], reverse=True)
    ids = await decided(stores)

    for step in by_decision:
        await apply(stores, ids, step)

    assert sums(stores) == pytest.approx(expected(history_, "small"))


@pytest.mark.parametrize("seed", [6, 7])
async def test_rebuilding_after_any_concurrent_history_finds_no_difference(
    database: Database, seed: int
) -> None:
    evidence, memory = PostgresEvidence(database), FakeMemory(encoder=ENCODER)
    stores = Stores(PostgresJournal(database), evidence)
    ids = await decided(stores)
    learner = Learner(evidence, memory, stores.journal, ENCODER)

    await asyncio.gather(*(apply(stores, ids, step) for step in a_history(seed)))
    await learner.sweep()

    assert len(await evidence_differences(database)) == 0
    assert (await reconcile(database, memory, ENCODER, 100, check_only=True)).memory_before == 0


async def test_rebuilding_restores_the_evidence_of_signals(database: Database) -> None:
    stores = Stores(PostgresJournal(database), PostgresEvidence(database))
    ids = await decided(stores)
    for step in a_history(8):
        await apply(stores, ids, step)
    before = sums(stores), sums(stores, "large"), history(stores), history(stores, "large")
    async with database.connection() as connection:
        await connection.execute("DELETE FROM evidence")
        await connection.execute("DELETE FROM histories")

    await rebuild_evidence(database)

    fresh = PostgresEvidence(database)
    await fresh.refresh()
    reloaded = Stores(stores.journal, fresh)
    after = sums(reloaded), sums(reloaded, "large"), history(reloaded), history(reloaded, "large")
    assert after == before
