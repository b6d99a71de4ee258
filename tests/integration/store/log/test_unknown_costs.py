"""Calls whose cost nobody knows are logged, counted and rebuilt without a dollar."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import asyncpg

from service.domain.arm import ArmSums
from service.domain.ports import Reports
from service.domain.traffic import total
from service.store.connection.pool import Database
from service.store.evidence.evidence import PostgresEvidence
from service.store.evidence.rebuild import evidence_differences
from service.store.log.journal import PostgresJournal
from service.store.log.rounds import rounds
from service.store.log.spends import newest_spends
from service.store.spool.codec import CompletedRun, decode, encode
from tests.integration.stores import (
    NOW,
    TENANT,
    Stores,
    a_decision,
    an_attempt,
    an_outcome,
    rate,
)

DAY = timedelta(days=1)
UNKNOWN: dict[str, Any] = {"cost_usd": None, "cost_source": "unknown"}


def stores_on(database: Database) -> Stores:
    evidence = PostgresEvidence(database)
    return Stores(PostgresJournal(database, snapshot=evidence.snapshot), evidence)


async def log_unknown(stores: Stores, request_id: str = "r1") -> None:
    """Log a request whose only call has an unknown cost."""
    decision = a_decision(request_id)
    await stores.journal.log_decision(decision)
    await stores.journal.log_outcome(an_outcome(decision, **UNKNOWN), [an_attempt(decision, **UNKNOWN)])


async def test_an_unknown_cost_is_no_evidence_of_dollars(stores: Stores) -> None:
    await log_unknown(stores)

    expected = ArmSums(
        n_outcomes=1, latency_s_sum=Decimal("1.25"), n_unpriced=1, latency_s_squares=Decimal("1.5625")
    )
    assert dict(stores.evidence.sums(TENANT)) == {"small": expected}


async def test_a_record_shows_no_dollars(stores: Stores) -> None:
    await log_unknown(stores)

    record = await stores.journal.record(TENANT, "r1")

    assert record is not None
    assert record["outcome"]["cost_usd"] is None
    assert [(a["cost_usd"], a["cost_source"]) for a in record["attempts"]] == [(None, "unknown")]


async def test_one_unknown_call_makes_the_requests_cost_unknown_but_not_the_answers(stores: Stores) -> None:
    decision = a_decision()
    await stores.journal.log_decision(decision)
    attempts = [an_attempt(decision, status="failed", **UNKNOWN), an_attempt(decision, 1)]
    outcome = replace(an_outcome(decision), cost_usd=None)

    await stores.journal.log_outcome(outcome, attempts)

    record = await stores.journal.record(TENANT, "r1")
    assert record is not None
    assert record["outcome"]["cost_usd"] is None
    assert [a["cost_usd"] for a in record["attempts"]] == [None, 0.000123456]
    sums = stores.evidence.sums(TENANT)["small"]
    assert (sums.n_unpriced, sums.cost_usd_sum) == (0, Decimal("0.000123456"))


async def test_a_later_outcome_of_known_cost_replaces_an_unknown_one(stores: Stores) -> None:
    await log_unknown(stores)
    decision = a_decision()
    found = await stores.journal.find(TENANT, "r1")
    assert found is not None

    later = replace(an_outcome(decision, after_s=9.0), decision_id=found.decision_id)
    await stores.journal.log_outcome(later, [])

    sums = stores.evidence.sums(TENANT)["small"]
    assert (sums.n_outcomes, sums.n_unpriced, sums.cost_usd_sum) == (1, 0, Decimal("0.000123456"))


async def test_a_rated_request_of_unknown_cost_is_remembered_without_dollars(stores: Stores) -> None:
    await log_unknown(stores)
    await rate(stores, 0.5)

    (pending,) = await stores.evidence.pending(1)

    assert pending.experience is not None
    assert pending.experience.cost_usd is None


async def test_reports_count_requests_of_unknown_cost_apart(stores: Stores, reports: Reports) -> None:
    await log_unknown(stores, "r1")
    decision = a_decision("r2")
    await stores.journal.log_decision(decision)
    await stores.journal.log_outcome(an_outcome(decision), [an_attempt(decision)])

    traffic = await reports.traffic(TENANT, NOW - DAY, NOW + DAY)

    priced = total(totals for group, totals in traffic.items() if group.is_priced)
    everything = total(traffic.values())
    assert (priced.n_requests, priced.n_unpriced, priced.cost_usd) == (1, 0, Decimal("0.000123456"))
    assert (everything.n_requests, everything.n_unpriced) == (2, 1)
    assert everything.cost_usd == priced.cost_usd


async def test_a_rebuild_finds_no_difference(database: Database, dsn: str) -> None:
    await log_unknown(stores_on(database))
    assert len(await evidence_differences(database)) == 0

    connection = await asyncpg.connect(dsn)
    await connection.execute("UPDATE evidence SET n_unpriced = 0")
    await connection.close()

    found = await evidence_differences(database)
    assert found.sums == {(TENANT, "small"): ArmSums(n_unpriced=1)}


async def test_the_budget_and_an_evaluation_see_no_dollars(database: Database) -> None:
    await log_unknown(stores_on(database))

    [spend] = await newest_spends(database, 10, 10)
    [logged] = [r async for r in rounds(database, TENANT, NOW - DAY, NOW + DAY)]

    assert spend.cost_usd is None
    assert logged.cost_usd is None
    assert logged.latency_s == 1.25


def test_an_unknown_cost_survives_the_spool() -> None:
    decision = a_decision()
    run = CompletedRun(an_outcome(decision, **UNKNOWN), (an_attempt(decision, **UNKNOWN),))

    assert decode(encode(run, store_texts=True)) == run


def test_lines_of_earlier_versions_have_known_costs() -> None:
    decision = a_decision()
    run = CompletedRun(an_outcome(decision), (an_attempt(decision),))
    line = encode(run, store_texts=True)

    unsealed = re.sub(rb',"crc32":"\w+"', b"", line)  # they had no checksum either
    older = unsealed.replace(b'"cost_source":"price",', b"").replace(b',"cost_source":"price"', b"")

    assert older != unsealed != line
    assert decode(older) == run
