"""Lets clients see an answer that comes before the end of their body, such as 413.

A server that closes a connection while the client sends resets it, and the answer is lost. So the answer goes
out, the rest of the body is read and dropped within limits, and then the connection is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.request_headers import RequestHeaders

# A body up to this size is mostly here already; the server drops its rest and keeps the connection.
SMALL_BODY_BYTES = 65_536
DRAIN_BYTES = 256 * 2**20
DRAIN_S = 30.0
IDLE_S = 5.0  # longest wait for the next part of the body


class UnreadBodies:
    """Reads and drops the rest of a large body after the answer, before the connection is closed.

    Args:
        drain_bytes: most bytes to read.
        drain_s: longest time to read, seconds.
        idle_s: longest wait for more bytes, seconds.
    """

    def __init__(
        self, app: ASGIApp, drain_bytes: int = DRAIN_BYTES, drain_s: float = DRAIN_S, idle_s: float = IDLE_S
    ) -> None:
        self.app = app
        self.drain_bytes = drain_bytes
        self.drain_s = drain_s
        self.idle_s = idle_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_large(RequestHeaders(scope["headers"])):
            await self.app(scope, receive, send)
            return
        is_read = False

        async def watched_receive() -> Message:
            nonlocal is_read
            message = await receive()
            is_read = is_read or not message.get("more_body", False)  # the end of the body, or of the client
            return message

        async def lingering_send(message: Message) -> None:
            if is_read:
                await send(message)
            elif message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Connection"] = "close"
                await send(message)
            elif message.get("more_body", False):
                await send(message)
            else:
                await send({**message, "more_body": True})
                await self._drain(watched_receive)
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self.app(scope, watched_receive, lingering_send)

    async def _drain(self, receive: Receive) -> None:
        n_bytes = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(self.drain_s):
                while n_bytes <= self.drain_bytes:
                    async with asyncio.timeout(self.idle_s):
                        message = await receive()
                    n_bytes += len(message.get("body", b""))
                    if not message.get("more_body", False):
                        return


def is_large(headers: Mapping[str, str]) -> bool:
    """Whether a request may have a large body."""
    announced = headers.get("content-length", "0")
    return "transfer-encoding" in headers or not announced.isdigit() or int(announced) > SMALL_BODY_BYTES
