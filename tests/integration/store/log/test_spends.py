"""The spends of the budget, from a real PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from service.domain.conversation import ConversationStep
from service.domain.decision import Decision, PacedArm
from service.domain.query import Turn
from service.store.connection.pool import Database
from service.store.log.journal import PostgresJournal
from service.store.log.spends import newest_spends
from tests.integration.stores import NOW, a_decision, an_attempt, an_outcome

WEIGHED = tuple(PacedArm(arm_id, 4.0, 1.0, 0.1 - 0.05, 0.0002) for arm_id in ("small", "large"))


def later(decision: Decision, seconds: int) -> Decision:
    return replace(decision, decided_at=NOW + timedelta(seconds=seconds))


async def test_the_newest_spends_come_last_and_the_last_ones_with_candidates(database: Database) -> None:
    journal = PostgresJournal(database)
    for i in range(4):
        decision = later(a_decision(f"r{i}"), i)
        await journal.log_decision(decision)
        if i < 3:
            calls = [an_attempt(decision, 0, status="failed"), an_attempt(decision, 1)]
            await journal.log_outcome(an_outcome(decision), calls)

    spends = await newest_spends(database, 3, 2)

    assert [spend.decided_at - NOW for spend in spends] == [timedelta(seconds=i) for i in (1, 2, 3)]
    assert [spend.arms for spend in spends] == [(), WEIGHED, WEIGHED]
    assert [spend.cost_usd for spend in spends] == [float(2 * Decimal("0.000123456"))] * 2 + [None]
    assert {(spend.arm_id, spend.feedback_weight) for spend in spends} == {("small", None)}


async def test_decisions_that_the_budget_did_not_pay_for_are_excluded(database: Database) -> None:
    journal = PostgresJournal(database)
    imported = a_decision("import")
    await journal.log_decision(replace(a_decision("named"), kind="pinned"))
    await journal.log_decision(replace(a_decision("seen before"), kind="cache"))
    await journal.log_decision(replace(a_decision("all cooling down"), candidates=()))
    await journal.log_decision(replace(imported, query=replace(imported.query, dialect="import")))

    assert await newest_spends(database, 10, 10) == []


async def test_the_newest_spends_of_all_tenants_count(database: Database) -> None:
    journal = PostgresJournal(database)
    for i, tenant in enumerate(["one", "another", "one", "third", "one"]):
        await journal.log_decision(later(a_decision(f"r{i}", tenant=tenant), i))

    spends = await newest_spends(database, 4, 2)

    assert [spend.decided_at - NOW for spend in spends] == [timedelta(seconds=i) for i in (1, 2, 3, 4)]
    assert [spend.arms for spend in spends] == [(), (), WEIGHED, WEIGHED]


async def test_the_clients_weights_are_read_and_arms_that_were_not_drawn_are_left_out(
    database: Database,
) -> None:
    journal = PostgresJournal(database)
    stays = a_decision("r1")
    options = replace(stays.query.options, feedback_weight=0.25)
    step = ConversationStep(2, "openai", 0, None, previous_arm_id="small", is_drawn=False)
    title = later(a_decision("r2"), 1)
    await journal.log_decision(replace(stays, query=replace(stays.query, options=options), step=step))
    await journal.log_decision(replace(title, query=replace(title.query, turn=Turn(side_call="title"))))

    first, second = await newest_spends(database, 10, 10)

    assert (first.feedback_weight, first.arms) == (0.25, WEIGHED[:1])
    assert (second.feedback_weight, second.arms) == (None, WEIGHED[:1])
