from __future__ import annotations

from typing import Any

import pytest

from service.errors import ProviderBroken
from tests.fakes import Reply
from tests.service.world import World, error_of


async def listed(world: World, **query: Any) -> dict[str, Any]:
    await world.background.drain(5.0)
    response = await world.http.get("/requests", params=query)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def ids(world: World, **query: Any) -> list[str]:
    return [request["request_id"] for request in (await listed(world, **query))["requests"]]


async def test_without_requests_the_list_is_empty(world: World) -> None:
    assert await listed(world) == {"requests": [], "next": None}


async def test_a_row_is_a_summary_without_texts(world: World) -> None:
    await world.ask("a secret plan", request_id="r-1", router={"task": "plans"})
    await world.rate("r-1", 0.5)

    (row,) = (await listed(world))["requests"]

    record = await world.record("r-1")
    assert row == {
        "request_id": "r-1",
        "decision_id": record["decision_id"],
        "decided_at": record["decided_at"],
        "dialect": "openai",
        "stream": False,
        "requested_model": None,
        "model": record["model"],
        "decision": record["decision"],
        "status": "ok",
        "task": "plans",
        "session_id": None,
        "rule": None,
        "tags": {},
        "latency_ms": record["outcome"]["latency_s"] * 1000,
        "ttft_ms": None,
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "cost_usd": record["outcome"]["cost_usd"],
        "reward": 0.5,
        "signals": [],
    }


async def test_pages_follow_each_other_while_requests_arrive(world: World) -> None:
    for i in range(5):
        await world.ask(request_id=f"r-{i}")
        world.clock.advance(1)

    first = await listed(world, limit=2)
    await world.ask(request_id="newer")
    second = await listed(world, limit=2, after=first["next"])
    last = await listed(world, limit=2, after=second["next"])

    pages = [[row["request_id"] for row in page["requests"]] for page in (first, second, last)]
    assert pages == [["r-4", "r-3"], ["r-2", "r-1"], ["r-0"]]
    assert last["next"] is None


async def test_requests_are_filtered(world: World) -> None:
    await world.ask(request_id="pinned", model="large")
    world.clock.advance(3 * 3600)
    world.model_client.will("small", Reply(error=ProviderBroken("gone", status=404)))
    await world.ask(request_id="failed", model="small", router={"task": "plans", "session_id": "s-1"})
    await world.rate("pinned", 1.0)

    assert await ids(world, model="big") == ["pinned"]
    assert await ids(world, decision="pinned") == ["failed", "pinned"]
    assert await ids(world, decision="exploit") == []
    assert await ids(world, rated="true") == ["pinned"]
    assert await ids(world, rated="false") == ["failed"]
    assert await ids(world, status="failed") == ["failed"]
    assert await ids(world, task="plans") == ["failed"]
    assert await ids(world, session_id="s-1") == ["failed"]
    assert await ids(world, rule="none") == await ids(world, tag="intent:error") == []
    assert await ids(world, since=world.clock().isoformat()) == ["failed"]
    assert await ids(world, until=world.clock().isoformat()) == ["pinned"]
    assert await ids(world, since="36500d", until="36400d") == []
    assert await ids(world, model="removed-long-ago") == []


@pytest.mark.parametrize(
    ("query", "param", "rule"),
    [
        ({"limit": 201}, "limit", "less than or equal to 200"),
        ({"since": "yesterday"}, "since", "must be a time"),
        ({"status": "done"}, "status", "'ok', 'failed', 'cancelled' or 'pending'"),
        ({"tag": "error"}, "tag", "match pattern"),
        ({"rated": "maybe"}, "rated", "'true' or 'false'"),
        ({"after": "MjAyNi0x"}, "after", "must be `next` of a page"),
        ({"after": "é"}, "after", "must be `next` of a page"),
        ({"colour": "red"}, "colour", "not permitted"),
    ],
)
async def test_a_parameter_that_breaks_its_rule_is_named(
    world: World, query: dict[str, Any], param: str, rule: str
) -> None:
    response = await world.http.get("/requests", params=query)

    assert response.status_code == 400
    error = error_of(response)
    assert error["param"] == param
    assert rule in error["message"]


async def test_while_postgresql_is_away_the_list_says_so(world: World) -> None:
    world.store.is_down = True

    response = await world.http.get("/requests")

    assert (response.status_code, error_of(response)["code"]) == (503, "unavailable")
