"""Requests to an application in the same process."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from service.background import Background
from service.mcp_server.in_process import Application, InProcess
from service.mcp_server.router_api import NoRouter, Refused, RouterApi, forwarded


def client(app: Application, background: Background | None = None) -> httpx.AsyncClient:
    transport = InProcess(app, ("192.0.2.7", 80), background or Background())
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


async def test_the_application_sees_the_request_and_where_it_comes_from() -> None:
    seen: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.update(scope, body=(await receive())["body"])
        await send({"type": "http.response.start", "status": 201, "headers": [(b"x-a", b"b")]})
        await send({"type": "http.response.body", "body": b"fine"})

    async with client(app) as http:
        response = await http.post("/a%20b?c=d", content=b"text")

    assert (response.status_code, response.text, response.headers["x-a"]) == (201, "fine", "b")
    assert (seen["path"], seen["query_string"], seen["body"]) == ("/a b", b"c=d", b"text")
    assert seen["client"] == ("192.0.2.7", 80)


async def test_parts_of_an_answer_come_before_its_end_and_closing_it_disconnects() -> None:
    background, messages = Background(), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        messages.append(await receive())

    async with client(app, background) as http, http.stream("GET", "/") as response:
        first = await anext(response.aiter_bytes())
    await background.drain(5)

    assert first == b"first"
    assert messages == [{"type": "http.disconnect"}]


async def test_a_cancelled_request_disconnects() -> None:
    background, started, messages = Background(), asyncio.Event(), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        started.set()
        messages.append(await receive())

    async with client(app, background) as http:
        calling = asyncio.create_task(http.get("/"))
        await started.wait()
        calling.cancel()
        await asyncio.wait({calling})
        await background.drain(5)

    assert messages == [{"type": "http.disconnect"}]


@pytest.mark.parametrize("starts", [False, True])
async def test_an_application_that_ends_without_its_answer_is_an_error(starts: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if starts:
            await send({"type": "http.response.start", "status": 200, "headers": []})

    async with client(app) as http:
        with pytest.raises(httpx.ReadError, match="the application ended"):
            await http.get("/")


# --- the API behind it ----------------------------------------------------------------------------------


def api(answer: httpx.Response | Exception, headers: dict[str, str] | None = None) -> RouterApi:
    def respond(request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        answer.headers["x-sent-key"] = request.headers.get("authorization", "none")
        return answer

    return RouterApi("http://router", headers or {}, httpx.MockTransport(respond))


def test_only_credentials_and_options_of_the_caller_go_on() -> None:
    headers = {
        "Authorization": "Bearer k",
        "x-api-key": "k",
        "X-Router-Task": "t",
        "Cookie": "c",
        "Host": "h",
    }

    assert forwarded(headers) == {"Authorization": "Bearer k", "x-api-key": "k", "X-Router-Task": "t"}


async def test_every_request_has_the_key() -> None:
    _, headers = await api(httpx.Response(200, json={}), {"Authorization": "Bearer k"}).post("/x", {})

    assert headers["x-sent-key"] == "Bearer k"


@pytest.mark.parametrize("body", [b"<html>Bad gateway</html>", b"[]", b'{"error": "no"}'])
async def test_an_error_that_is_no_routers_is_shown_as_it_is(body: bytes) -> None:
    with pytest.raises(Refused, match="no error of a router, HTTP 502"):
        await api(httpx.Response(502, content=body)).get("/x")


async def test_an_error_without_the_name_of_its_field_gets_it() -> None:
    error = {"message": "must be short", "type": "invalid_request_error", "param": "task", "code": None}

    with pytest.raises(Refused, match=r"^task: must be short \(invalid_request_error, HTTP 400\)$"):
        await api(httpx.Response(400, json={"error": error})).get("/x")


async def test_without_a_router_the_error_says_how_to_start_one() -> None:
    with pytest.raises(NoRouter, match=r"no router answers at http://router .*`router serve`"):
        await api(httpx.ConnectError("refused")).get("/x")
