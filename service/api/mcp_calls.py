"""Answers MCP messages over HTTP without sessions, and ends calls that their client cancels.

A client of the newest protocol cancels a call by closing its answer.
Older clients send a notification in a request of its own.
They get a name at their handshake, by which their running calls are found.
Nothing else depends on the name: any replica answers a message under an unknown one, also after a restart.
A call in another process is not found, and ends by the router's deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.domain.basics import Json

CLIENT = "Mcp-Session-Id"
CallId = tuple[str, str, str | int]  # the tenant, the client's name, and its id of the call


@dataclass(frozen=True, slots=True)
class McpCalls:
    """The calls that run in this process, of clients that have a name."""

    running: dict[CallId, asyncio.Event] = field(default_factory=dict)

    def answered(self, app: ASGIApp, message: Json) -> ASGIApp:
        """The application, for one message."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            client, tenant = Headers(scope=scope).get(CLIENT), scope["state"]["caller"].tenant
            if message.get("method") == "initialize":
                await app(scope, receive, _named(send))
            elif client is None:
                await app(scope, receive, send)
            elif isinstance(call_id := message.get("id"), str | int):
                await self._run((tenant, client, call_id), app, scope, receive, send)
            else:
                self._end_if_cancelled(tenant, client, message)
                await app(scope, receive, send)

        return answer

    def _end_if_cancelled(self, tenant: str, client: str, message: Json) -> None:
        if message.get("method") != "notifications/cancelled" or not isinstance(message.get("params"), dict):
            return
        call_id = message["params"].get("requestId")
        if isinstance(call_id, str | int) and (cancelled := self.running.get((tenant, client, call_id))):
            cancelled.set()

    async def _run(self, call: CallId, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; once the call is cancelled, as if the client had disconnected."""
        cancelled = self.running[call] = asyncio.Event()
        exchange = _Exchange(receive, send, cancelled)
        try:
            await app(scope, exchange.receive, exchange.send)
        finally:
            self.running.pop(call, None)
        if cancelled.is_set():
            await exchange.complete()


@dataclass(slots=True)
class _Exchange:
    """A request and its answer, which another request can end."""

    original_receive: Receive
    original_send: Send
    cancelled: asyncio.Event
    is_started: bool = False
    is_complete: bool = False

    async def receive(self) -> Message:
        receiving = asyncio.ensure_future(self.original_receive())
        waiting = asyncio.create_task(self.cancelled.wait())
        try:
            await asyncio.wait({receiving, waiting}, return_when=asyncio.FIRST_COMPLETED)
            return receiving.result() if receiving.done() else {"type": "http.disconnect"}
        finally:
            receiving.cancel()
            waiting.cancel()

    async def send(self, message: Message) -> None:
        self.is_started = True
        self.is_complete = message["type"] == "http.response.body" and not message.get("more_body", False)
        await self.original_send(message)

    async def complete(self) -> None:
        """End the answer in the form of HTTP: nobody waits for it."""
        if not self.is_started:
            await self.send({"type": "http.response.start", "status": 202, "headers": []})
        if not self.is_complete:
            await self.send({"type": "http.response.body", "body": b"", "more_body": False})


def _named(send: Send) -> Callable[[Message], Awaitable[None]]:
    """Adds a name for the client to the answer."""

    async def send_with_name(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)[CLIENT] = uuid4().hex
        await send(message)

    return send_with_name
