"""The contract of the reports, tested on the fake, the embedded PostgreSQL and a system one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import asyncpg
import pytest

from service.domain.answer import Usage
from service.domain.decision import Decision
from service.domain.feedback import ImplicitSignal
from service.domain.ports import Reports
from service.domain.traffic import Group, TrafficTotals, total
from service.errors import StoreUnavailable
from service.store.connection.pool import Database
from service.store.log.traffic import PostgresReports
from tests.integration.stores import (
    NOW,
    TENANT,
    Stores,
    a_decision,
    a_feedback,
    an_attempt,
    an_outcome,
    answered,
    rate,
)

DAY = timedelta(days=1)


async def counted(reports: Reports, *, tenant: str = TENANT) -> TrafficTotals:
    return total((await reports.traffic(tenant, NOW - 10 * DAY, NOW + 10 * DAY)).values())


async def log(stores: Stores, decision: Decision, **outcome: object) -> None:
    await stores.journal.log_decision(decision)
    await stores.journal.log_outcome(an_outcome(decision, **outcome), [])  # type: ignore[arg-type]


async def test_without_requests_there_are_no_groups(reports: Reports) -> None:
    assert await reports.traffic(TENANT, NOW - DAY, NOW) == {}


async def test_imported_requests_are_no_traffic(stores: Stores, reports: Reports) -> None:
    asked = a_decision()
    await log(stores, replace(asked, query=replace(asked.query, dialect="import")))

    assert await reports.traffic(TENANT, NOW - DAY, NOW + DAY) == {}


async def test_an_answered_and_rated_request_is_counted_with_all_its_numbers(
    stores: Stores, reports: Reports
) -> None:
    await answered(stores)
    await rate(stores, 0.5)

    traffic = await reports.traffic(TENANT, NOW, NOW + DAY)

    cost = Decimal("0.000123456")
    assert traffic == {
        Group(date(2026, 7, 1), "small", "exploit", None): TrafficTotals(
            n_requests=1,
            n_ok=1,
            cost_usd=cost,
            cost_usd_squares=cost**2,
            prompt_tokens=10,
            cached_tokens=2,
            cache_write_tokens=3,
            completion_tokens=5,
            reasoning_tokens=1,
            n_timed=1,
            latency_s=Decimal("1.25"),
            n_streamed=1,
            ttft_s=Decimal("0.25"),
            n_rated=1,
            reward=Decimal("0.5"),
            reward_squares=Decimal("0.25"),
        )
    }


async def test_a_request_counts_by_its_outcome(stores: Stores, reports: Reports) -> None:
    await log(stores, a_decision("r1"), arm_id="large", kind="fallback")
    await log(stores, a_decision("r2"), status="failed")
    await log(stores, a_decision("r3"), status="cancelled")
    await stores.journal.log_decision(replace(a_decision("r4"), holdout=True))

    traffic = await reports.traffic(TENANT, NOW, NOW + DAY)

    day = date(2026, 7, 1)
    assert traffic.keys() == {
        Group(day, "large", "fallback", None),
        Group(day, "small", "exploit", None),
        Group(day, "small", "exploit", True),
    }
    all_of_them = total(traffic.values())
    assert (all_of_them.n_requests, all_of_them.n_finished) == (4, 3)
    assert (all_of_them.n_ok, all_of_them.n_failed, all_of_them.n_cancelled) == (1, 1, 1)
    assert all_of_them.n_timed == 1


async def test_the_cost_of_a_request_is_that_of_all_its_calls(stores: Stores, reports: Reports) -> None:
    decision, other = a_decision(), a_decision("r2")
    calls = [an_attempt(decision, i, cost_usd=Decimal(cost)) for i, cost in enumerate(["0.01", "0.02"])]
    await stores.journal.log_decision(decision)
    await stores.journal.log_outcome(an_outcome(decision), calls[:1])
    await stores.journal.log_outcome(an_outcome(decision, after_s=9), calls[1:])
    await stores.journal.log_decision(other)
    await stores.journal.log_outcome(an_outcome(other), [an_attempt(other, cost_usd=Decimal("0.1"))])

    found = await counted(reports)

    assert found.cost_usd == Decimal("0.13")
    assert found.cost_usd_squares == Decimal("0.03") ** 2 + Decimal("0.1") ** 2
    assert found.completion_tokens == 2 * 5


async def test_an_answer_from_the_cache_has_no_latency(stores: Stores, reports: Reports) -> None:
    await log(stores, replace(a_decision(), kind="cache"), kind="cache", usage=Usage(), ttft_s=0.0)

    found = await counted(reports)

    assert (found.n_ok, found.n_timed, found.n_streamed) == (1, 0, 0)
    assert found.latency_s == found.ttft_s == 0


async def test_an_answer_that_was_not_streamed_has_no_time_to_first_token(
    stores: Stores, reports: Reports
) -> None:
    await log(stores, a_decision(), ttft_s=None)

    found = await counted(reports)

    assert (found.n_timed, found.n_streamed) == (1, 0)
    assert found.ttft_s == 0


async def test_the_newest_feedback_is_the_rating_and_a_signal_is_none(
    stores: Stores, reports: Reports
) -> None:
    for request_id in ("revised", "withdrawn", "implicit"):
        await answered(stores, request_id)
    await rate(stores, 0.2, "revised")
    await rate(stores, 0.9, "revised")
    await rate(stores, 0.7, "withdrawn")
    await stores.evidence.learn(a_feedback(None, "withdrawn"), None)
    implicit = await stores.journal.find(TENANT, "implicit")
    assert implicit is not None
    empty = [ImplicitSignal("empty", "small", Decimal("0.25"))]
    await stores.evidence.learn_signals(TENANT, implicit.decision_id, empty, NOW)

    found = await counted(reports)

    assert (found.n_requests, found.n_rated) == (3, 1)
    assert (found.reward, found.reward_squares) == (Decimal("0.9"), Decimal("0.81"))


async def test_days_are_in_utc_and_the_end_is_exclusive(stores: Stores, reports: Reports) -> None:
    for i, hours in enumerate((-13, -12, 11, 12)):  # from noon
        await log(stores, replace(a_decision(f"r{i}"), decided_at=NOW + timedelta(hours=hours)))

    traffic = await reports.traffic(TENANT, NOW - timedelta(hours=13), NOW + timedelta(hours=12))

    assert {group.day: totals.n_requests for group, totals in traffic.items()} == {
        date(2026, 6, 30): 1,
        date(2026, 7, 1): 2,
    }


async def test_tenants_see_only_their_own_traffic(stores: Stores, reports: Reports) -> None:
    await answered(stores, tenant="other")
    await answered(stores, "r2", tenant="other")
    await answered(stores)

    ours, theirs = await counted(reports), await counted(reports, tenant="other")

    assert (ours.n_requests, theirs.n_requests) == (1, 2)


async def test_the_sums_are_exact(stores: Stores, reports: Reports) -> None:
    for i in range(6):
        await answered(stores, f"r{i}")
        await rate(stores, i / 7, f"r{i}")

    found = await counted(reports)

    assert found.reward == sum(
        (Decimal(str(i / 7)).quantize(Decimal("0.000001")) for i in range(6)), Decimal(0)
    )
    assert found.cost_usd == 6 * Decimal("0.000123456")


# --- on PostgreSQL alone


async def test_a_report_that_takes_too_long_fails_and_requests_still_work(
    database: Database, dsn: str
) -> None:
    blocker = await asyncpg.connect(dsn)
    async with blocker.transaction():
        await blocker.execute("LOCK TABLE outcomes IN ACCESS EXCLUSIVE MODE")

        with pytest.raises(StoreUnavailable, match=r"longer than 0\.05 s: ask for fewer days"):
            await PostgresReports(database, timeout_s=0.05).traffic(TENANT, NOW - DAY, NOW)

        await database.ping()
    await blocker.close()


async def test_only_one_report_at_a_time_uses_a_connection(database: Database, dsn: str) -> None:
    reports, blocker = PostgresReports(database, timeout_s=0.2), await asyncpg.connect(dsn)
    async with blocker.transaction():
        await blocker.execute("LOCK TABLE outcomes IN ACCESS EXCLUSIVE MODE")

        counting = [reports.traffic(TENANT, NOW - DAY, NOW) for _ in range(3)]
        given_up = await asyncio.gather(*counting, return_exceptions=True)

    await blocker.close()
    assert {type(error) for error in given_up} == {StoreUnavailable}
    assert "other reports are being counted" in {str(error) for error in given_up}


async def test_the_timeout_of_a_report_ends_with_it(database: Database) -> None:
    await PostgresReports(database, timeout_s=7.0).traffic(TENANT, NOW - DAY, NOW)

    async with database.connection() as connection:
        assert await connection.fetchval("SHOW statement_timeout") == "0"
