from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from starlette.types import Message, Scope

from service.api.sse_response import EventStream
from service.dialects import sse

SCOPE: Scope = {"type": "http"}


class Caller:
    """The caller's side of a response."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.pinged = asyncio.Event()
        self.leaves = asyncio.Event()
        self.blocks = False  # reads no more

    async def send(self, message: Message) -> None:
        if message["type"] != "http.response.body":
            return
        self.got.append(message["body"])
        if message["body"] == sse.PING:
            self.pinged.set()
        if self.blocks:
            await asyncio.Event().wait()

    async def receive(self) -> Message:
        await self.leaves.wait()
        return {"type": "http.disconnect"}


async def test_a_caller_who_waits_long_hears_that_the_line_is_alive() -> None:
    model_client = Caller()

    async def events() -> AsyncGenerator[bytes, None]:
        await model_client.pinged.wait()
        yield b"data: 1\n\n"

    await EventStream(events(), {}, ping_every_s=0.001)(SCOPE, model_client.receive, model_client.send)

    assert model_client.got[0] == sse.PING == b": ping\n\n"
    assert model_client.got[-2:] == [b"data: 1\n\n", b""]


async def test_events_end_when_the_caller_leaves_while_none_comes() -> None:
    model_client, is_over, is_waiting = Caller(), asyncio.Event(), asyncio.Event()

    async def events() -> AsyncGenerator[bytes, None]:
        try:
            is_waiting.set()
            await asyncio.Event().wait()
            yield b""
        finally:
            is_over.set()

    responding = asyncio.create_task(
        EventStream(events(), {})(SCOPE, model_client.receive, model_client.send)
    )
    await is_waiting.wait()
    model_client.leaves.set()
    await responding

    assert is_over.is_set()


async def test_events_end_when_the_caller_leaves_without_reading_them() -> None:
    model_client, is_over = Caller(), asyncio.Event()
    model_client.blocks = True

    async def events() -> AsyncGenerator[bytes, None]:
        try:
            model_client.leaves.set()
            yield b"data: 1\n\n"
        finally:
            is_over.set()

    await EventStream(events(), {})(SCOPE, model_client.receive, model_client.send)

    assert is_over.is_set()
    assert model_client.got == [b"data: 1\n\n"]


async def test_events_end_when_the_caller_stays_and_reads_nothing() -> None:
    model_client, is_over = Caller(), asyncio.Event()
    model_client.blocks = True

    async def events() -> AsyncGenerator[bytes, None]:
        try:
            yield b"data: 1\n\n"
        finally:
            is_over.set()

    await EventStream(events(), {}, stalled_s=0.01)(SCOPE, model_client.receive, model_client.send)

    assert is_over.is_set()
    assert model_client.got == [b"data: 1\n\n"]
