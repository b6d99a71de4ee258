"""POST /mcp, GET /sse, POST /sse/messages/: the router as a server of the Model Context Protocol."""

from __future__ import annotations

import asyncio
import threading
from functools import cache
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.dependencies import BodyDep, PartsDep
from service.api.mcp_calls import McpCalls
from service.background import Background
from service.dialects.json_body import read_json

if TYPE_CHECKING:
    from service.mcp_server.server import RouterServer

endpoints = APIRouter(tags=["mcp"], include_in_schema=False)
MESSAGES = "/sse/messages/"
# The package's own checks of names and origins are off: `Entrance` covers every path.
_importing = threading.Lock()
_calls = McpCalls()


@endpoints.post("/mcp")
async def streamable_http(request: Request, parts: PartsDep, body: BodyDep) -> Response:
    """One MCP message, and its answer; without sessions, so that any replica can answer."""
    message = read_json(body)
    server = await asyncio.to_thread(_server)
    app = _Stateless(server, parts.settings.max_body_bytes)
    return _Answered(_calls.answered(app, message), body)


@endpoints.get("/sse")
async def sse(request: Request) -> Response:
    """The answers of the older transport, to what is sent to /sse/messages/."""
    app = await asyncio.to_thread(_sse_app)

    async def one_answer(scope: Scope, receive: Receive, send: Send) -> None:
        """The package begins a second answer when the first ends, be it by the end of the service."""
        is_started = is_over = False

        async def send_once(message: Message) -> None:
            nonlocal is_started, is_over
            is_over = is_over or (is_started and message["type"] == "http.response.start")
            is_started = True
            if not is_over:
                await send(message)

        await app(scope, receive, send_once)
        if is_over:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return _Answered(one_answer)


@endpoints.post(MESSAGES)
async def sse_message(request: Request, body: BodyDep) -> Response:
    """One MCP message, which is answered by the stream that named this address."""
    read_json(body)
    return _Answered(await asyncio.to_thread(_sse_app), body)


class _Answered(Response):
    """The answer of another ASGI application to a request whose body has been read."""

    def __init__(self, app: ASGIApp, body: bytes = b"") -> None:
        super().__init__()
        self._app = app
        self._read: bytes | None = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def again() -> Message:
            if self._read is None:
                return await receive()
            body, self._read = self._read, None
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, again, send)


class _Stateless:
    """Answers one request by a session manager of its own, which ends with it."""

    def __init__(self, server: RouterServer, max_body_bytes: int) -> None:
        self._server = server
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._server.streamable_http_app(
            stateless_http=True, max_request_body_size=self._max_body_bytes, transport_security=_unchecked()
        )
        manager = self._server.session_manager
        async with manager.run():
            await manager.handle_request(scope, receive, send)


def _server() -> RouterServer:
    """The server; the first call imports its package, which takes about a second."""
    with _importing:
        return _built()


@cache
def _built() -> RouterServer:
    from service.mcp_server.in_process import InProcess
    from service.mcp_server.router_api import RouterApi, forwarded
    from service.mcp_server.server import build_server

    background = Background()

    def api(request: Any) -> RouterApi:
        """The application that the MCP message came to, for the sender of the message."""
        client = request.scope["client"]
        transport = InProcess(request.state.entrance, client and tuple(client), background)
        return RouterApi("http://localhost", forwarded(request.headers), transport)

    return build_server(api)


def _sse_app() -> ASGIApp:
    with _importing:
        return _built_sse_app()


@cache
def _built_sse_app() -> ASGIApp:
    # The body has been read within its limit, so that the package's own does not count.
    limit = 2**31
    return _built().sse_app(
        message_path=MESSAGES, max_request_body_size=limit, transport_security=_unchecked()
    )


def _unchecked() -> Any:
    from service.mcp_server.server import unchecked

    return unchecked()
