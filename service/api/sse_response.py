"""A response of server-sent events that ends when its client disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Self

import structlog
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.api.disconnects import UnlessDisconnected
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
        try:
            with (
                UnlessDisconnected(receive),
                _Line(send, self.ping, ping_every_s=self.ping_every_s, stalled_s=self.stalled_s) as line,
            ):
                async with aclosing(self.events):
                    async for event in self.events:
                        await line.send(event)
        except ClientDisconnect:
            return
        except ClientStalled:
            log.info("client_stalled", seconds=self.stalled_s)
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Line:
    """The line to one client: sends pings in pauses, and cancels its block if the client has stalled.

    One timer serves both, because most streams are over before anything of it is due.
    """

    def __init__(self, send: Send, ping: bytes, *, ping_every_s: float, stalled_s: float) -> None:
        self._send = send
        self._ping = ping
        self._ping_every_s, self._stalled_s = ping_every_s, stalled_s
        self._n_sending = 0
        self._is_stalled = False
        self._pinging: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._n_cancellations, self._loop = task, task.cancelling(), task.get_loop()
        self._last_sent = self._loop.time()
        self._look_again()
        return self

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._pinging is not None:
            self._pinging.cancel()
        is_ours = self._is_stalled and self._task.uncancel() <= self._n_cancellations
        if is_ours and isinstance(error, asyncio.CancelledError):
            raise ClientStalled from error

    async def send(self, event: bytes) -> None:
        if self._n_sending == 0:
            self._last_sent = self._loop.time()
        self._n_sending += 1
        try:
            await self._send({"type": "http.response.body", "body": event, "more_body": True})
        finally:
            self._n_sending -= 1

    def _look_again(self) -> None:
        self._timer = self._loop.call_later(min(self._ping_every_s, self._stalled_s) / 2, self._look)

    def _look(self) -> None:
        quiet_s = self._loop.time() - self._last_sent
        if self._n_sending and quiet_s >= self._stalled_s:
            self._is_stalled = True
            self._task.cancel()
            return
        if not self._n_sending and quiet_s >= self._ping_every_s:
            self._pinging = self._loop.create_task(self.send(self._ping))
        self._look_again()
