"""The contract of stored responses, on the fake and on PostgreSQL."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from service.domain.ports import ResponseStore
from service.domain.stored_response import StoredResponse
from service.store.connection.pool import Database
from service.store.log.responses import PostgresResponseStore
from tests.fakes_store import FakeResponseStore, FakeStore
from tests.integration.stores import NOW, TENANT

TEXT = "NUL \0, an emoji \U0001f642 and “quotes”"


@pytest.fixture
def response_store(backing: FakeStore | Database) -> ResponseStore:
    return FakeResponseStore(backing) if isinstance(backing, FakeStore) else PostgresResponseStore(backing)


def a_response(response_id: str, previous_id: str | None = None, **changes: Any) -> StoredResponse:
    fields: dict[str, Any] = {
        "tenant": TENANT,
        "response_id": response_id,
        "previous_id": previous_id,
        "input": ({"type": "message", "role": "user", "content": TEXT},),
        "response": {"id": response_id, "output": [{"type": "message", "content": TEXT}]},
        "created_at": NOW,
    }
    return StoredResponse(**fields | changes)


async def ids(store: ResponseStore, response_id: str, limit: int = 10, tenant: str = TENANT) -> list[str]:
    return [found.response_id for found in await store.chain(tenant, response_id, limit)]


async def test_a_response_comes_back_as_it_was(response_store: ResponseStore) -> None:
    await response_store.keep(a_response("r1"))

    assert list(await response_store.chain(TENANT, "r1", 1)) == [a_response("r1")]


async def test_a_chain_begins_with_the_oldest(response_store: ResponseStore) -> None:
    for response in (a_response("r1"), a_response("r2", "r1"), a_response("r3", "r2"), a_response("x", "r1")):
        await response_store.keep(response)

    assert await ids(response_store, "r3") == ["r1", "r2", "r3"]
    assert await ids(response_store, "x") == ["r1", "x"]
    assert await ids(response_store, "r3", limit=2) == ["r2", "r3"]


async def test_an_unknown_response_has_no_chain(response_store: ResponseStore) -> None:
    assert await ids(response_store, "r1") == []


async def test_tenants_are_kept_apart(response_store: ResponseStore) -> None:
    await response_store.keep(a_response("r1", tenant="other"))
    await response_store.keep(a_response("r2", "r1"))

    assert await ids(response_store, "r1") == []
    assert await ids(response_store, "r2") == ["r2"]
    assert not await response_store.delete(TENANT, "r1")
    assert await ids(response_store, "r1", tenant="other") == ["r1"]


async def test_a_retry_replaces_the_response(response_store: ResponseStore) -> None:
    await response_store.keep(a_response("r1"))
    again = a_response("r1", response={"id": "r1", "output": []})
    await response_store.keep(again)

    assert list(await response_store.chain(TENANT, "r1", 1)) == [again]


async def test_a_deleted_response_is_gone(response_store: ResponseStore) -> None:
    await response_store.keep(a_response("r1"))

    assert await response_store.delete(TENANT, "r1")
    assert not await response_store.delete(TENANT, "r1")
    assert await ids(response_store, "r1") == []


async def test_only_old_responses_are_pruned(response_store: ResponseStore) -> None:
    def at(days: int) -> datetime:
        return NOW - timedelta(days=days)

    for days in range(5):
        await response_store.keep(a_response(f"r{days}", created_at=at(days)))

    assert await response_store.prune(at(2)) == 2
    assert await ids(response_store, "r2") == ["r2"]
    assert await ids(response_store, "r3") == []
