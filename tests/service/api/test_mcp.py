"""The paths of MCP obey the rules of all paths."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from service.access.key_desk import NewKey
from service.domain.basics import Json
from tests.fakes import ANY, Reply
from tests.service.served import serving
from tests.service.world import World, error_of, opened

ACCEPT = {"Accept": "application/json, text/event-stream"}
PATHS = ("/mcp", "/sse/messages/")


def message(method: str, message_id: object = None, **params: object) -> Json:
    named = {} if message_id is None else {"id": message_id}
    return {"jsonrpc": "2.0", **named, "method": method, "params": params}


INITIALIZE = message(
    "initialize",
    1,
    protocolVersion="2025-06-18",
    capabilities={},
    clientInfo={"name": "test", "version": "1"},
)
COMPLETE = message("tools/call", 2, name="complete", arguments={"prompt": "Hi"})


@pytest.mark.parametrize(("method", "path"), [("POST", PATHS[0]), ("GET", "/sse"), ("POST", PATHS[1])])
async def test_a_page_cannot_reach_the_tools_by_a_name_of_its_own(
    world: World, method: str, path: str
) -> None:
    host = await world.http.request(method, path, json=COMPLETE, headers={**ACCEPT, "Host": "evil.example"})
    page = {**ACCEPT, "Origin": "http://evil.example"}
    origin = await world.http.request(method, path, json=COMPLETE, headers=page)

    assert (host.status_code, error_of(host)["code"]) == (421, "host_not_allowed")
    assert (origin.status_code, error_of(origin)["code"]) == (403, "origin_not_allowed")
    assert world.model_client.calls == []


@pytest.mark.parametrize("path", PATHS)
async def test_a_message_is_json_within_the_limits_of_all_bodies(world: World, path: str) -> None:
    typed = await world.http.post(path, content=b"{}", headers={"Content-Type": "text/plain"})
    deep = await world.http.post(path, content=b"[" * 5_000, headers={"Content-Type": "application/json"})
    listed = await world.http.post(path, json=[COMPLETE])

    assert (typed.status_code, error_of(typed)["code"]) == (415, "unsupported_media_type")
    assert deep.status_code == 400
    assert error_of(listed)["message"] == "body must be a JSON object, got list"


@pytest.mark.parametrize("path", PATHS)
async def test_a_message_above_the_limit_is_too_large(tmp_path, path: str) -> None:  # type: ignore[no-untyped-def]
    async with opened(tmp_path, max_body_bytes=1_000) as world:
        response = await world.http.post(path, json=message("ping", 1, text="x" * 2_000), headers=ACCEPT)

    assert (response.status_code, error_of(response)["code"]) == (413, "request_too_large")


async def test_messages_above_the_limit_of_the_package_are_answered(world: World) -> None:
    params = {"name": "route", "arguments": {"prompt": "x" * 5_000_000}}
    response = await world.http.post("/mcp", json=message("tools/call", 1, **params), headers=ACCEPT)

    assert "context" in response.text or '"isError":false' in response.text


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_there_are_no_sessions_to_listen_to_or_to_delete(world: World, method: str) -> None:
    response = await world.http.request(method, "/mcp", headers=ACCEPT)

    assert response.status_code == 405
    assert response.headers["Allow"] == "POST"


async def test_a_message_is_answered_whatever_session_it_names(world: World) -> None:
    named = {**ACCEPT, "Mcp-Session-Id": "of a router that was restarted"}

    response = await world.http.post("/mcp", json=COMPLETE, headers=named)

    assert response.status_code == 200
    assert "Hello there." in response.text


async def test_only_the_client_that_made_a_call_can_cancel_it(world: World) -> None:
    world.model_client.will(ANY, Reply(until=asyncio.Event()))

    async with (
        serving(world) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=ACCEPT, timeout=60) as http,
    ):
        names = [(await http.post("/mcp", json=INITIALIZE)).headers["Mcp-Session-Id"] for _ in range(2)]
        mine, others = ({"Mcp-Session-Id": name} for name in names)
        calling = asyncio.create_task(http.post("/mcp", json=COMPLETE, headers=mine))
        await world.model_client.call_started.wait()
        cancelled = message("notifications/cancelled", requestId=2)
        for headers in (others, {}):
            assert (await http.post("/mcp", json=cancelled, headers=headers)).status_code == 202
        still_running = not calling.done() and not world.model_client.cancelled
        await http.post("/mcp", json=cancelled, headers=mine)
        response = await calling

    assert still_running
    assert len(world.model_client.cancelled) == 1
    assert "result" not in response.text


async def test_a_tool_does_what_the_key_of_its_caller_allows_and_no_more(world: World) -> None:
    desk = world.parts.key_desk
    keys = [
        (await desk.create(NewKey(scope, "default", frozenset({scope})))).secret
        for scope in ("inference", "read")
    ]
    await world.parts.keyring.refresh()

    answers = [
        await world.http.post("/mcp", json=COMPLETE, headers={**ACCEPT, "X-Router-Key": key})
        for key in (*keys, "rk-unknown")
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 401]
    assert '"isError":false' in answers[0].text
    assert "scope_missing" in answers[1].text
    assert len(world.model_client.calls) == 1
