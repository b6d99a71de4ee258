"""Sends HTTP requests to an application in the same process, and reads its answers while they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import httpx

from service.background import Background

Message = MutableMapping[str, Any]
Application = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]


class InProcess(httpx.AsyncBaseTransport):
    """The transport of an HTTP client whose server is an ASGI application.

    `httpx.ASGITransport` waits for the end of an answer; this one passes its parts on as they come, and the
    application sees a client that closes the answer early as one that has disconnected.

    Args:
        app: the application.
        client: address and port that the requests come from; None: unknown.
        background: keeps the application's work until it is done.
    """

    def __init__(self, app: Application, client: tuple[str, int] | None, background: Background) -> None:
        self._app = app
        self._client = client
        self._background = background

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        exchange = _Exchange(await request.aread())
        running = self._background.spawn(self._run(request, exchange))
        running.add_done_callback(lambda _: exchange.end())
        try:
            start = await exchange.sent.get()
        except BaseException:  # the caller was cancelled
            exchange.disconnect()
            raise
        if start is None:
            raise httpx.ReadError("the application ended without an answer", request=request)
        return httpx.Response(start["status"], headers=start["headers"], stream=_Answer(exchange))

    async def _run(self, request: httpx.Request, exchange: _Exchange) -> None:
        await self._app(self._scope(request), exchange.receive, exchange.send)

    def _scope(self, request: httpx.Request) -> Message:
        url = request.url
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": url.raw_path.partition(b"?")[0],
            "query_string": url.query,
            "server": (url.host, url.port),
            "client": self._client,
            "root_path": "",
        }


class _Exchange:
    """One request and its answer.

    `sent` has the application's messages, then None.
    """

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self._disconnected = asyncio.Event()
        self.sent: asyncio.Queue[Message | None] = asyncio.Queue()

    async def receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._disconnected.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if not self._disconnected.is_set():
            self.sent.put_nowait(message)

    def end(self) -> None:
        self.sent.put_nowait(None)

    def disconnect(self) -> None:
        self._disconnected.set()


class _Answer(httpx.AsyncByteStream):
    """The body of an answer, part by part."""

    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (message := await self._exchange.sent.get()) is not None:
            yield message.get("body", b"")
            if not message.get("more_body", False):
                return
        raise httpx.ReadError("the application ended in the middle of its answer")

    async def aclose(self) -> None:
        self._exchange.disconnect()
