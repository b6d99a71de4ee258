"""What is answered and logged when a request runs into a bug, in front of the framework and behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from types import SimpleNamespace

import pytest
import structlog.testing
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message

from service.access.key_copy import KeyCopy
from service.access.key_digests import KeyDigests
from service.access.keyring import Keyring
from service.api import errors
from service.api.callers import Callers
from service.api.entrance import Entrance
from service.api.hosts import Hosts
from service.api.hot_routes import HotRoutes
from service.api.origins import Origins
from service.api.scopes import Need
from service.api.sse_response import EventStream
from service.settings.settings import Settings
from tests.fakes import FixedClock
from tests.fakes_keys import FakeApiKeyStore


async def _fails_at_once(_: Request) -> Response:
    raise KeyError("a bug")


async def _fails_in_its_stream(_: Request) -> Response:
    async def events() -> AsyncGenerator[bytes, None]:
        yield b"data: 1\n\n"
        raise KeyError("a bug")

    return EventStream(events(), headers={})


ENDPOINTS = {"/at-once": _fails_at_once, "/in-its-stream": _fails_in_its_stream}


@pytest.mark.parametrize("is_hot", [True, False])
@pytest.mark.parametrize(("path", "status"), [("/at-once", 500), ("/in-its-stream", 200)])
async def test_a_bug_is_logged_once_and_ends_its_response(path: str, status: int, is_hot: bool) -> None:
    app = FastAPI()
    errors.install(app)
    for cold_path, endpoint in ENDPOINTS.items():
        app.add_route(cold_path, endpoint, methods=["POST"])
    needs: dict[str, Need] = {f"POST {hot_path}": "public" for hot_path in ENDPOINTS}
    hot_routes = HotRoutes(app, ENDPOINTS if is_hot else {}, needs)
    callers = Callers(Settings())
    entrance = Entrance(app, hot_routes, Hosts("127.0.0.1", frozenset()), Origins(frozenset()), callers)
    keyring = Keyring(FakeApiKeyStore(), KeyDigests(["a secret"]), FixedClock(), KeyCopy(Path("unused"), ""))
    app.state.parts = SimpleNamespace(keyring=keyring)
    sent: list[Message] = []

    with structlog.testing.capture_logs() as lines, pytest.raises(KeyError):
        await _call(entrance, path, sent)

    assert [line["event"] for line in lines] == ["unhandled_error"]
    assert [m["status"] for m in sent if m["type"] == "http.response.start"] == [status]
    assert b"x-request-id" in {name.lower() for name, _ in sent[0]["headers"]}


async def _call(app: ASGIApp, path: str, sent: list[Message]) -> None:
    bodies = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Message:
        return next(bodies, None) or await asyncio.get_running_loop().create_future()

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "client": None,
        "root_path": "",
        "http_version": "1.1",
    }
    await app(scope, receive, send)
