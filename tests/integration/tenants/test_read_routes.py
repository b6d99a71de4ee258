"""No route shows one tenant anything of another, whatever both have done."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qdrant_client.models import FieldCondition, Range

from service.memory import qdrant
from service.memory.points import DECIDED_AT, TENANT
from service.store.log import record
from tests.integration.tenants.two_tenants import (
    ENDLESS,
    OF_NO_TENANT,
    OPERATIONS,
    WRITES,
    Router,
    Steps,
    opened,
    routes,
)

# Both read and write, and stand in the list of reads.
READS_BY_POST = {"/v1/route", "/v1/responses/input_tokens", "/responses/input_tokens", "/mcp"}
OF_CALIBRATIONS = {
    "/admin/calibrations",
    "/admin/calibrations/{calibration_id}",
}  # tests/service/api/test_tenants.py
OF_RESPONSES = {"/v1/responses/{response_id}", "/responses/{response_id}"}
STEPS = st.lists(st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 2)), min_size=3, max_size=8)
RATED = [("ask", 0), ("ask with a mark", 0), ("rate", 0)]


@pytest.fixture
async def router(owned_dsn: str, qdrant_url: str, tmp_path: Path) -> AsyncIterator[Router]:
    async with opened(owned_dsn, qdrant_url, tmp_path) as router:
        yield router


@settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS)
async def test_no_route_shows_anything_of_another_tenant(router: Router, steps: Steps) -> None:
    await router.check(steps)


def test_every_route_is_read_by_the_check_or_listed() -> None:
    unread = {path for methods, path in routes() if methods and "GET" not in methods}

    listed = WRITES | OF_NO_TENANT | READS_BY_POST | OF_CALIBRATIONS | OF_RESPONSES
    assert {_plain(path) for path in unread} <= {_plain(path) for path in listed}
    assert {path for _, path in routes()} >= ENDLESS


def _plain(path: str) -> str:
    return path.replace(":path}", "}")


async def test_without_the_filter_of_the_memory_the_check_fails(
    router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    equals = qdrant._equals

    def without_tenant(name: str, value: str) -> FieldCondition:
        everything = FieldCondition(key=DECIDED_AT, range=Range(gte=0))
        return everything if name == TENANT else equals(name, value)

    await router.check(RATED)
    monkeypatch.setattr(qdrant, "_equals", without_tenant)
    with pytest.raises(AssertionError, match="/v1/route"):
        await router.check(RATED)


async def test_row_security_holds_where_a_condition_is_forgotten(
    router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten = record._DECISION.replace("WHERE tenant = $1", "WHERE $1 <> ''")
    monkeypatch.setattr(record, "_DECISION", forgotten)

    await router.check(RATED)
