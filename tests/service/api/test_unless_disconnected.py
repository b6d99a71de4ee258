from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from service.api.disconnects import UnlessDisconnected

Receive = Callable[[], Awaitable[Message]]


class Client:
    """A client that disconnects when told to."""

    def __init__(self) -> None:
        self.disconnects = asyncio.Event()
        self.n_messages = 0
        self.n_waiting = 0

    async def receive(self) -> Message:
        self.n_messages += 1
        if self.n_messages == 1:
            await asyncio.sleep(0)
            return {"type": "http.request", "body": b"", "more_body": False}
        self.n_waiting += 1
        try:
            await self.disconnects.wait()
        finally:
            self.n_waiting -= 1
        return {"type": "http.disconnect"}


@pytest.fixture
def client() -> Client:
    return Client()


async def forever(receive: Receive) -> None:
    with UnlessDisconnected(receive):
        await asyncio.Event().wait()


async def soon() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_disconnect_ends_the_block(client: Client) -> None:
    working = asyncio.create_task(forever(client.receive))
    await soon()
    client.disconnects.set()

    with pytest.raises(ClientDisconnect):
        await working


async def test_a_client_that_left_before_ends_the_block_at_its_first_wait(client: Client) -> None:
    client.disconnects.set()

    with pytest.raises(ClientDisconnect):
        await forever(client.receive)


async def test_a_block_that_waits_for_nothing_is_done(client: Client) -> None:
    client.disconnects.set()

    with UnlessDisconnected(client.receive):
        done = True
    await soon()

    assert done


async def test_a_block_that_is_done_waits_for_nothing(client: Client) -> None:
    with UnlessDisconnected(client.receive):
        await soon()
        assert client.n_waiting == 1

    assert client.n_waiting == 0
    client.disconnects.set()
    await soon()  # does not cancel this task


async def test_a_block_has_no_task(client: Client) -> None:
    before = asyncio.all_tasks()

    with UnlessDisconnected(client.receive):
        await soon()
        assert asyncio.all_tasks() == before


async def test_a_cancellation_from_elsewhere_stays_one(client: Client) -> None:
    working = asyncio.create_task(forever(client.receive))
    await soon()
    working.cancel()

    with pytest.raises(asyncio.CancelledError):
        await working


async def test_a_cancellation_from_elsewhere_counts_more_than_a_disconnect(client: Client) -> None:
    working = asyncio.create_task(forever(client.receive))
    await soon()
    client.disconnects.set()
    working.cancel()

    with pytest.raises(asyncio.CancelledError):
        await working
