"""A small HTTP server on a free port of this machine that answers as a test scripts it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import orjson
from aiohttp import web

from service.domain.answer import Burst, Chunk
from service.domain.arm import Arm
from service.domain.basics import Json

Script = Callable[[web.Request], Awaitable[web.StreamResponse]]

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
KEY = "sk-very-secret"
SECRETS = {"UPSTREAM_KEY": KEY}
BODY: Json = {"model": "auto", "messages": [{"role": "user", "content": "Say hi."}]}
EVENT_STREAM = {"Content-Type": "text/event-stream"}


class Upstream:
    """The requests that the server received, and the script of its answers."""

    def __init__(self) -> None:
        self.script: Script = hang
        self.by_model: dict[str, Script] = {}  # for models with another script
        self.bodies: list[Json] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.connections: set[object] = set()
        self.call_started = asyncio.Event()
        self._hung_up = asyncio.Event()
        self.base_url = ""

    def arm(self, provider: str = "openai", model: str = "some-model", path: str = "/v1") -> Arm:
        return Arm("an-arm", provider, model, base_url=self.base_url + path, api_key_env="UPSTREAM_KEY")

    async def was_left(self) -> None:
        """Wait until the model client has disconnected before its answer was complete."""
        async with asyncio.timeout(20):  # only a failing test waits that long
            await self._hung_up.wait()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(orjson.loads(await request.read()))
        self.headers.append(dict(request.headers))
        self.paths.append(request.path)
        self.connections.add(request.transport)
        self.call_started.set()
        try:
            return await self.by_model.get(self.bodies[-1].get("model", ""), self.script)(request)
        except (asyncio.CancelledError, ConnectionError):
            self._hung_up.set()
            raise


@asynccontextmanager
async def serving() -> AsyncIterator[Upstream]:
    upstream = Upstream()
    app = web.Application()
    app.router.add_post("/{path:.*}", upstream.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        upstream.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield upstream
    finally:
        await runner.cleanup()


async def hang(request: web.Request) -> web.StreamResponse:
    return await asyncio.Future[web.StreamResponse]()


def answers(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Script:
    """Answer with the body as JSON; bytes are sent unchanged."""
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    all_headers = {"Content-Type": "application/json", **(headers or {})}

    async def script(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=raw, headers=all_headers)

    return script


def refuses(
    status: int, message: str = "no", headers: dict[str, str] | None = None, **error: object
) -> Script:
    return answers({"error": {"message": message, "type": "some_error", **error}}, status, headers)


def streams(*blocks: bytes, then: Script | None = None) -> Script:
    """Send each block by a write of its own, then end cleanly or continue with `then`."""

    async def script(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=EVENT_STREAM)
        await response.prepare(request)
        for block in blocks:
            await response.write(block)
        if then is not None:
            return await then(request)
        for _ in range(20):  # turns of the event loop: the end seldom comes together with the last block
            await asyncio.sleep(0)
        return response

    return script


async def drop(request: web.Request) -> web.StreamResponse:
    """Break the connection."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def event(body: object) -> bytes:
    return b"data: " + orjson.dumps(body) + b"\n\n"


def chunk_body(content: str | None = None, *, finish_reason: str | None = None, **more: object) -> Json:
    delta = {} if content is None else {"content": content}
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {
        "id": "c-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [choice],
    } | more


def completion(content: str = "hi", **more: object) -> Json:
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": "c-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]} | more


async def collected(stream: AsyncGenerator[Burst, None]) -> list[Chunk]:
    return [chunk async for burst in stream for chunk in burst]


def text_of(chunks: list[Chunk]) -> str:
    return "".join(
        choice["delta"].get("content") or "" for chunk in chunks for choice in chunk.body["choices"]
    )


@asynccontextmanager
async def listening(handle: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """Serve every path with this handler; yields the address."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}"
    await runner.cleanup()
