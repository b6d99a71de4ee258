from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.unread_bodies import SMALL_BODY_BYTES, UnreadBodies

PART = b"x" * 1_000
LARGE = [(b"content-length", b"1000000")]


class Exchange:
    """A client that sends these messages, and what it received after how much of them."""

    def __init__(self, messages: Iterator[Message], *, waits: bool = False) -> None:
        self.messages = messages
        self.waits = waits
        self.n_read = 0
        self.sent: list[tuple[int, Message]] = []

    async def receive(self) -> Message:
        if (message := next(self.messages, None)) is None:
            assert self.waits, "read beyond the end"
            await asyncio.Event().wait()
            raise AssertionError
        self.n_read += 1
        return message

    async def send(self, message: Message) -> None:
        self.sent.append((self.n_read, message))

    async def run(self, headers: list[tuple[bytes, bytes]], *, n_reads: int = 0, **limits: Any) -> None:
        app = UnreadBodies(refusing(n_reads), **limits)
        await app({"type": "http", "headers": headers}, self.receive, self.send)

    @property
    def closes(self) -> bool:
        return (b"connection", b"close") in self.sent[0][1]["headers"]


def refusing(n_reads: int) -> ASGIApp:
    """An application that reads so many parts, then answers."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(n_reads):
            await receive()
        await send({"type": "http.response.start", "status": 413, "headers": []})
        await send({"type": "http.response.body", "body": b"too large"})

    return app


def parts(n: int) -> Iterator[Message]:
    for number in range(n):
        yield {"type": "http.request", "body": PART, "more_body": number < n - 1}


def endless() -> Iterator[Message]:
    while True:
        yield {"type": "http.request", "body": PART, "more_body": True}


@pytest.mark.parametrize("headers", [LARGE, [(b"transfer-encoding", b"chunked")]])
async def test_the_answer_goes_out_first_and_the_connection_closes_after_the_body(
    headers: list[tuple[bytes, bytes]],
) -> None:
    exchange = Exchange(parts(20))

    await exchange.run(headers)

    (_, start), (n_before, body), (n_after, end) = exchange.sent
    assert (start["status"], body["body"], body["more_body"]) == (413, b"too large", True)
    assert (n_before, n_after) == (0, 20)
    assert (end["body"], end["more_body"]) == (b"", False)
    assert exchange.closes


async def test_a_body_that_was_read_keeps_the_connection() -> None:
    exchange = Exchange(parts(20))

    await exchange.run(LARGE, n_reads=20)

    assert len(exchange.sent) == 2
    assert not exchange.closes


async def test_a_client_that_left_is_not_read_from() -> None:
    exchange = Exchange(iter([{"type": "http.disconnect"}]))

    await exchange.run(LARGE, n_reads=1)

    assert exchange.n_read == 1


async def test_a_client_that_leaves_meanwhile_ends_the_reading() -> None:
    exchange = Exchange(iter([*islice(parts(20), 3), {"type": "http.disconnect"}]))

    await exchange.run(LARGE)

    assert exchange.n_read == 4
    assert exchange.sent[-1][1]["more_body"] is False


async def test_no_more_is_read_than_the_limit() -> None:
    exchange = Exchange(endless())

    await exchange.run(LARGE, drain_bytes=50_000)

    assert exchange.n_read == 51
    assert exchange.sent[-1][1]["more_body"] is False


@pytest.mark.parametrize("limits", [{"idle_s": 0.01}, {"drain_s": 0.01}])
async def test_a_client_that_sends_nothing_is_not_waited_for(limits: dict[str, Any]) -> None:
    exchange = Exchange(islice(parts(20), 3), waits=True)

    await exchange.run(LARGE, **limits)

    assert exchange.n_read == 3
    assert exchange.sent[-1][1]["more_body"] is False


@pytest.mark.parametrize("headers", [[], [(b"content-length", str(SMALL_BODY_BYTES).encode())]])
async def test_the_rest_of_a_small_body_is_the_servers(headers: list[tuple[bytes, bytes]]) -> None:
    exchange = Exchange(parts(20))

    await exchange.run(headers)

    assert (exchange.n_read, len(exchange.sent)) == (0, 2)
    assert not exchange.closes
