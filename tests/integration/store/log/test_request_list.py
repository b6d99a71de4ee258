"""The contract of the list of requests, tested on the fake, the embedded PostgreSQL and a system one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from service.domain.feedback import ImplicitSignal
from service.domain.logged_requests import Place, RequestFilter
from service.domain.ports import Reports
from service.domain.tags import Tag
from service.store.connection.pool import Database
from service.store.log import request_list
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

HOUR = timedelta(hours=1)


async def listed(
    reports: Reports, limit: int = 200, after: Place | None = None, *, tenant: str = TENANT, **wanted: Any
) -> list[str]:
    found = await reports.requests(tenant, RequestFilter(**wanted), limit, after)
    return [summary.request_id for summary in found]


async def log(stores: Stores, request_id: str, hours: float = 0, **outcome: Any) -> None:
    decision = replace(a_decision(request_id), decided_at=NOW + hours * HOUR)
    await stores.journal.log_decision(decision)
    await stores.journal.log_outcome(an_outcome(decision, **outcome), [an_attempt(decision)])


async def test_a_summary_has_the_figures_the_reward_and_the_signals(stores: Stores, reports: Reports) -> None:
    decision_id = await answered(stores)
    await stores.evidence.learn_signals(
        TENANT, decision_id, [ImplicitSignal("empty", "small", Decimal("0.25"))], NOW
    )
    await rate(stores, 0.5)

    (summary,) = await reports.requests(TENANT, RequestFilter(), 10)

    assert summary.place == Place(NOW, decision_id)
    assert (summary.request_id, summary.dialect, summary.stream) == ("r1", "openai", False)
    assert (summary.arm_id, summary.kind, summary.status) == ("small", "exploit", "ok")
    assert (summary.task, summary.session_id) == ("triage/v2", "s\ufffd 1")
    assert (summary.latency_s, summary.ttft_s) == (1.25, 0.25)
    assert (summary.prompt_tokens, summary.completion_tokens) == (10, 5)
    assert (summary.cost_usd, summary.reward, summary.signals) == (0.000123456, 0.5, ("empty",))


async def test_a_request_without_an_outcome_is_pending(stores: Stores, reports: Reports) -> None:
    await stores.journal.log_decision(a_decision())

    (summary,) = await reports.requests(TENANT, RequestFilter(status="pending"), 10)

    assert (summary.status, summary.latency_s, summary.cost_usd) == ("pending", None, None)


async def test_a_cost_that_nobody_knows_is_none(stores: Stores, reports: Reports) -> None:
    decision = a_decision()
    await stores.journal.log_decision(decision)
    unknown = an_attempt(decision, cost_usd=None, cost_source="unknown")
    await stores.journal.log_outcome(an_outcome(decision, cost_usd=None, cost_source="unknown"), [unknown])

    (summary,) = await reports.requests(TENANT, RequestFilter(), 10)

    assert summary.cost_usd is None


async def test_the_newest_come_first_and_pages_follow_each_other(stores: Stores, reports: Reports) -> None:
    for hours in (1, 3, 2):
        await log(stores, f"r{hours}", hours)
    await log(stores, "at-the-same-time", 2)

    whole = await listed(reports)
    first = await reports.requests(TENANT, RequestFilter(), 2)
    rest = await listed(reports, after=first[-1].place)

    assert (whole[0], set(whole[1:3]), whole[3]) == ("r3", {"r2", "at-the-same-time"}, "r1")
    assert [summary.request_id for summary in first] + rest == whole


async def test_the_range_includes_its_start_and_excludes_its_end(stores: Stores, reports: Reports) -> None:
    for hours in (0, 1, 2):
        await log(stores, f"r{hours}", hours)

    assert await listed(reports, since=NOW, until=NOW + 2 * HOUR) == ["r1", "r0"]


async def test_each_filter_leaves_the_matching_requests(stores: Stores, reports: Reports) -> None:
    await log(stores, "plain")
    await log(stores, "fell-back", arm_id="large", kind="fallback")
    await log(stores, "failed", status="failed")
    other = a_decision("other")
    options = replace(other.query.options, task="chat", session_id="s2")
    await stores.journal.log_decision(replace(other, query=replace(other.query, options=options)))
    test = Tag("intent", "test", 0.9, None, "linear")
    ruled = replace(a_decision("ruled"), rule="tests", tags=(test,), decided_at=NOW - HOUR)
    await stores.journal.log_decision(ruled)

    assert await listed(reports, rule="tests") == ["ruled"]
    assert await listed(reports, rule="err\0rs") == []
    assert await listed(reports, tag=("intent", "test")) == ["ruled"]
    assert await listed(reports, tag=("intent", "explanation")) == []
    assert await listed(reports, arm_id="large") == ["fell-back"]
    assert await listed(reports, kind="fallback") == ["fell-back"]
    assert await listed(reports, status="failed") == ["failed"]
    assert await listed(reports, task="chat") == ["other"]
    assert await listed(reports, session_id="s2") == ["other"]
    assert await listed(reports, session_id="s\0 1", status="failed") == ["failed"]
    assert await listed(reports, arm_id="no\0model") == []


async def test_a_withdrawn_rating_is_none_and_so_is_a_signal(stores: Stores, reports: Reports) -> None:
    for request_id in ("rated", "withdrawn", "implicit"):
        await answered(stores, request_id)
    await rate(stores, 0.7, "rated")
    await rate(stores, 0.7, "withdrawn")
    await stores.evidence.learn(a_feedback(None, "withdrawn"), None)
    implicit = await stores.journal.find(TENANT, "implicit")
    assert implicit is not None
    empty = [ImplicitSignal("empty", "small", Decimal("0.25"))]
    await stores.evidence.learn_signals(TENANT, implicit.decision_id, empty, NOW)

    assert await listed(reports, rated=True) == ["rated"]
    assert set(await listed(reports, rated=False)) == {"withdrawn", "implicit"}


async def test_other_tenants_and_imported_requests_are_not_listed(stores: Stores, reports: Reports) -> None:
    await answered(stores, "theirs", tenant="other")
    imported = a_decision("imported")
    await stores.journal.log_decision(replace(imported, query=replace(imported.query, dialect="import")))
    await answered(stores, "ours")

    assert await listed(reports) == ["ours"]
    assert await listed(reports, tenant="other") == ["theirs"]


# --- on PostgreSQL alone


MANY_REQUESTS = """
INSERT INTO decisions (decision_id, tenant, request_id, body_digest, decided_at, dialect, stream, kind,
    arm_id, propensity, n_chars, n_prompt_tokens, learn, session_id, degraded, explanation)
SELECT gen_random_uuid(), 'default', i::text, '', now() - i * interval '1 s', 'openai', false,
    'exploit', 'small', 1, 1, 1, true, 's' || i % 500, '{}', $1
FROM generate_series(1, 5000) i
"""


@pytest.mark.parametrize(
    ("statement", "parameters", "index"),
    [
        (request_list._OF_ALL, (), "decisions_tenant_decided_at_idx"),
        (request_list._OF_A_SESSION, ("s1",), "decisions_tenant_session_id_idx"),
    ],
)
async def test_a_page_reads_an_index_and_not_the_whole_log(
    database: Database, statement: str, parameters: tuple[str, ...], index: str
) -> None:
    values = [TENANT, *(None,) * 9, 50, None, None, *parameters]
    async with database.connection() as connection:
        await connection.execute(MANY_REQUESTS, {})
        await connection.execute("ANALYZE decisions")
        plan = await connection.fetch(f"EXPLAIN {statement}", *values)

    assert index in "\n".join(row[0] for row in plan)
