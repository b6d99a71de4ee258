"""The connections of clients: how many there may be, and how long each may keep the server waiting."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from enum import Enum
from time import monotonic
from typing import Any

import structlog
from starlette.requests import Request
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from service.api.errors import refusal
from service.api.request_headers import MAX_HEAD_BYTES
from service.errors import BadRequest, HeadersTooLarge, Overloaded, RouterError, SlowRequest

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 1.0
IDLE_S = 75  # longer than clients and most proxies keep idle connections: who closes first must be they
SAID_EVERY_S = 1.0
LEAST_BYTES = 10_000  # that a client sends of a body, or reads of an answer, while the server waits for it


class Owes(Enum):
    """What the server waits for, by the longest wait in seconds."""

    NOTHING = math.inf
    REQUEST = float(IDLE_S)  # the first byte of one
    HEAD = 10.0  # all of it
    BODY = 20.0  # LEAST_BYTES, or its end
    READING = 120.0  # of LEAST_BYTES, or of all that is left


class Connections:
    """The connections of one process, which one timer looks after, so that a request needs none.

    Args:
        most: connections at the same time; 0: any number.
        look_every_s: time between two looks, seconds.
        time: the present, seconds from any beginning.
    """

    def __init__(
        self, most: int = 0, look_every_s: float = LOOK_EVERY_S, time: Callable[[], float] = monotonic
    ) -> None:
        self._most = most or math.inf
        self._look_every_s = look_every_s
        self._time = time
        self.open: set[Connection] = set()
        self._is_looking = False
        self._said_at = -math.inf

    def protocol(self, **of_uvicorn: Any) -> Connection:
        """The protocol of a new connection."""
        return Connection(self, **of_uvicorn)

    def add(self, connection: Connection) -> None:
        self.open.add(connection)
        if len(self.open) > self._most:
            self._say()
            error = Overloaded(f"the router has {len(self.open) - 1} connections", retry_after_s=1.0)
            connection.refuse(error)
        if not self._is_looking:
            self._is_looking = True
            connection.loop.call_later(self._look_every_s, self._look, connection.loop)

    def discard(self, connection: Connection) -> None:
        self.open.discard(connection)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = self._time()
        for connection in list(self.open):
            connection.look(now)
        self._is_looking = bool(self.open)
        if self._is_looking:
            loop.call_later(self._look_every_s, self._look, loop)

    def _say(self) -> None:
        now = self._time()
        if now - self._said_at >= SAID_EVERY_S:
            self._said_at = now
            log.warning("connections_exhausted", connections=len(self.open))


class Connection(HttpToolsProtocol):
    """One connection of uvicorn's, which ends if its client is too slow or says too much before a body."""

    def __init__(self, among: Connections, **of_uvicorn: Any) -> None:
        super().__init__(**of_uvicorn)
        self._among = among
        self._sends = Owes.REQUEST  # what the client is sending
        self._is_upgraded = False  # to another protocol, in the parser's eyes
        self._n_bare_bytes = 0  # of the head, or since the last byte of the body
        self._n_body_bytes = 0
        self._answered: RequestResponseCycle | None = None
        self._debt: tuple[Owes, object] = (
            Owes.NOTHING,
            None,
        )  # that the last look found, and of which request
        self._paid = 0  # bytes of it at the beginning of the wait
        self._due = math.inf

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._among.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._among.discard(self)
        self._leave()  # uvicorn tells the last of several requests only
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_upgraded:
            return
        self._n_bare_bytes += len(data)
        super().data_received(data)
        if self._n_bare_bytes > MAX_HEAD_BYTES and self._sends in (Owes.HEAD, Owes.BODY):
            what = "the head of a request" if self._sends is Owes.HEAD else "what is between a body's bytes"
            self.refuse(HeadersTooLarge(f"{what} must have at most {MAX_HEAD_BYTES} bytes"))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._sends = Owes.HEAD
        self._n_bare_bytes = 0

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._sends = Owes.BODY
        self.headers = []  # for trailers, which are no headers of the request
        if self.parser.should_upgrade():  # the parser would read what follows, even a body, as a request
            self._is_upgraded = True
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._n_bare_bytes = 0
        self._n_body_bytes += len(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._sends = Owes.REQUEST

    def look(self, now: float) -> None:
        """Give up the client if it has owed the same for too long."""
        owes = self._owes()
        debt = owes, self.cycle
        paid = self._n_body_bytes if owes is Owes.BODY else -self.transport.get_write_buffer_size()
        if debt != self._debt or paid - self._paid >= LEAST_BYTES:
            self._debt, self._paid, self._due = debt, paid, now + owes.value
        elif now >= self._due:
            self._give_up(owes)

    def refuse(self, error: RouterError) -> None:
        """Answer with the error, unless an answer has begun, and close."""
        if self.transport.is_closing():
            return
        if self._has_answer_begun:
            self.transport.abort()
            return
        scope = {"type": "http", "method": "", "path": "", "headers": [], "state": {}, **(self.scope or {})}
        answer = refusal(Request(scope), error)
        headers = b"".join(b"%b: %b\r\n" % header for header in answer.raw_headers)
        body = bytes(answer.body)
        self._leave()  # the application, which may be about to answer
        self.transport.write(STATUS_LINE[answer.status_code] + headers + b"connection: close\r\n\r\n" + body)
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        self.refuse(BadRequest("the request is not valid HTTP/1.1"))

    @property
    def _has_answer_begun(self) -> bool:
        """Whether anything written now would be read as a part of an answer, or as one too many."""
        if self._sends is Owes.BODY:
            return self._answered is not self.cycle or self.cycle.response_started
        return self._is_answering

    @property
    def _is_answering(self) -> bool:
        cycle = self._answered
        return cycle is not None and not (cycle.response_complete or cycle.disconnected)

    def _owes(self) -> Owes:
        is_answering = self._is_answering
        if self.transport.get_write_buffer_size() and (self.flow.write_paused or not is_answering):
            return Owes.READING
        if self.flow.read_paused:
            return Owes.NOTHING
        return Owes.NOTHING if is_answering and self._sends is Owes.REQUEST else self._sends

    def _give_up(self, owes: Owes) -> None:
        if owes is Owes.REQUEST:
            self.transport.close()
            return
        log.info("client_too_slow", owes=owes.name.lower(), seconds=owes.value)
        if owes is Owes.READING:
            self.transport.abort()
            return
        what = "the head of a request" if owes is Owes.HEAD else f"{LEAST_BYTES} bytes of a body, or its end,"
        self.refuse(SlowRequest(f"{what} must arrive within {owes.value:g} s"))

    def _leave(self) -> None:
        """Tell the application that the client of the request that it answers is gone."""
        if self._is_answering:
            assert self._answered is not None
            self._answered.disconnected = True
            self._answered.message_event.set()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: every client may ask, and is answered over HTTP/1.1."""
