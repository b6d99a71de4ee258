from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from starlette.types import Message, Scope

from service.api.sse_response import EventStream
from service.dialects import sse

SCOPE: Scope = {"type": "http"}


class Client:
    """The client's side of a response."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.pinged = asyncio.Event()
        self.disconnects = asyncio.Event()
        self.blocks = False  # stops reading

    async def send(self, message: Message) -> None:
        if message["type"] != "http.response.body":
            return
        self.received.append(message["body"])
        if message["body"] == sse.PING:
            self.pinged.set()
        if self.blocks:
            await asyncio.Event().wait()

    async def receive(self) -> Message:
        await self.disconnects.wait()
        return {"type": "http.disconnect"}


async def test_a_client_that_waits_long_gets_a_ping() -> None:
    client = Client()

    async def events() -> AsyncGenerator[bytes, None]:
        await client.pinged.wait()
        yield b"data: 1\n\n"

    await EventStream(events(), {}, ping_every_s=0.001)(SCOPE, client.receive, client.send)

    assert client.received[0] == sse.PING == b": ping\n\n"
    assert client.received[-2:] == [b"data: 1\n\n", b""]


async def test_a_disconnect_ends_the_events_while_none_comes() -> None:
    client, is_over, is_waiting = Client(), asyncio.Event(), asyncio.Event()

    async def events() -> AsyncGenerator[bytes, None]:
        try:
            is_waiting.set()
            await asyncio.Event().wait()
            yield b""
        finally:
            is_over.set()

    responding = asyncio.create_task(EventStream(events(), {})(SCOPE, client.receive, client.send))
    await is_waiting.wait()
    client.disconnects.set()
    await responding

    assert is_over.is_set()


async def test_a_disconnect_ends_the_events_that_are_not_read() -> None:
    client, is_over = Client(), asyncio.Event()
    client.blocks = True

    async def events() -> AsyncGenerator[bytes, None]:
        try:
            client.disconnects.set()
            yield b"data: 1\n\n"
        finally:
            is_over.set()

    await EventStream(events(), {})(SCOPE, client.receive, client.send)

    assert is_over.is_set()
    assert client.received == [b"data: 1\n\n"]


async def test_the_events_end_when_a_connected_client_reads_nothing() -> None:
    client, is_over = Client(), asyncio.Event()
    client.blocks = True

    async def events() -> AsyncGenerator[bytes, None]:
        try:
            yield b"data: 1\n\n"
        finally:
            is_over.set()

    await EventStream(events(), {}, stalled_s=0.01)(SCOPE, client.receive, client.send)

    assert is_over.is_set()
    assert client.received == [b"data: 1\n\n"]
