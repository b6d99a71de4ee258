"""What the way from the socket to `Completion` and back makes of the event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from service.completion.completion import Completed, Head, Streaming
from service.domain.answer import Burst, Chunk
from service.domain.basics import Json
from service.domain.query import Query
from tests.counting import Counts, counting
from tests.service.served import serving
from tests.service.world import World

N_REQUESTS, N_CHUNKS = 10, 200
# uvicorn's task of each request and its timer of the idle connection, with room for its looks whether
# to stop, ten times a second.
OF_SERVER = Counts(tasks=1, timers=1 + 4)


class Instant:
    """A completion that costs the event loop nothing."""

    async def complete(self, query: Query) -> Completed:
        await asyncio.sleep(0)
        choice = {"index": 0, "message": {"role": "assistant", "content": "Yes"}, "finish_reason": "stop"}
        return Completed(_head(query), {"id": "chatcmpl-1", "object": "chat.completion", "choices": [choice]})

    async def stream(self, query: Query) -> Streaming:
        return Streaming(_head(query), _bursts(), lambda: Decimal(0), lambda: 0.1)


async def _bursts() -> AsyncGenerator[Burst, None]:
    for _ in range(N_CHUNKS):
        await asyncio.sleep(0)
        yield [Chunk({"choices": [{"index": 0, "delta": {"content": "Yes"}}]})]


def _head(query: Query) -> Head:
    return Head(query.request_id, uuid4(), "small", "exploit", False, (), None, "openai")


@pytest.fixture
async def port(world: World) -> AsyncIterator[int]:
    completion: Any = Instant()
    world.parts.completion = completion
    async with serving(world) as port:
        yield port


@pytest.mark.parametrize(
    ("stream", "limits"),
    [
        (False, OF_SERVER),
        # The task is the answer that has not begun, with the timer of its keep-alive; the other timer is for
        # pings and clients that stop to read.
        (True, Counts(tasks=OF_SERVER.tasks + 1, timers=OF_SERVER.timers + 2)),
    ],
)
async def test_a_request_has_no_more_tasks_and_timers(port: int, stream: bool, limits: Counts) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await _answered(reader, writer, stream=stream)

    async with counting() as counts:
        for _ in range(N_REQUESTS):
            n_events = await _answered(reader, writer, stream=stream)
    writer.close()

    assert n_events == (N_CHUNKS if stream else 0)
    assert counts.per(N_REQUESTS).above(limits) == {}


async def _answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, stream: bool) -> int:
    """Send a request, and read the whole answer; returns the number of its chunks."""
    request: Json = {"messages": [{"role": "user", "content": "Is it?"}], "stream": stream}
    body = json.dumps(request).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    if stream:
        return (await reader.readuntil(b"\r\n0\r\n\r\n")).count(b'"delta"')
    length = next(line for line in answer.split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(int(length.partition(b":")[2]))
    return 0
