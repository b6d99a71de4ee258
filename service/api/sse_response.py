"""A response of server-sent events that ends when its client disconnects."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.api.disconnects import until_disconnected
from service.dialects import sse

log = structlog.get_logger(__name__)

PING_EVERY_S = 15.0
STALLED_S = 120.0  # a client that reads nothing for so long counts as disconnected


class ClientStalled(Exception):
    """The client is connected but does not read."""


class EventStream(Response):
    """Sends events as they come and a `ping` in long pauses; stops when the client disconnects.

    Starlette's streaming response detects a disconnect only at its next send. A model can think for a
    minute in between, which costs money.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncGenerator[bytes, None],
        headers: Mapping[str, str],
        *,
        ping: bytes = sse.PING,
        ping_every_s: float = PING_EVERY_S,
        stalled_s: float = STALLED_S,
    ) -> None:
        self.events = events
        self.ping = ping
        self.ping_every_s = ping_every_s
        self.stalled_s = stalled_s
        self.status_code = 200
        self.background = None
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        sending = asyncio.create_task(self._send(send))
        watching = asyncio.create_task(until_disconnected(receive))
        try:
            await asyncio.wait({sending, watching}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                await sending
        except ClientStalled:
            log.info("client_stalled", seconds=self.stalled_s)
        finally:
            watching.cancel()
            if not sending.done():
                sending.cancel()
                await asyncio.wait({sending})

    async def _send(self, send: Send) -> None:
        last_sent = time.monotonic()

        async def put(event: bytes) -> None:
            nonlocal last_sent
            last_sent = time.monotonic()
            try:
                async with asyncio.timeout(self.stalled_s):
                    await send({"type": "http.response.body", "body": event, "more_body": True})
            except TimeoutError:
                raise ClientStalled from None

        async def keep_alive() -> None:
            while True:
                await asyncio.sleep(self.ping_every_s / 2)
                if time.monotonic() - last_sent >= self.ping_every_s:
                    with suppress(ClientStalled):  # the task that sends events raises it too
                        await put(self.ping)

        pinging = asyncio.create_task(keep_alive())
        try:
            async with aclosing(self.events):
                async for event in self.events:
                    await put(event)
        finally:
            pinging.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})
