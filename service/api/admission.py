"""Refuses requests at once while too many others wait for the router itself."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable

import structlog
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.errors import refusal
from service.domain.local_faults import are_descriptors_short
from service.errors import Overloaded
from service.parts import Parts

log = structlog.get_logger(__name__)

SAID_EVERY_S = 1.0  # a line for each refused request would be work again


class Admission:
    """Lets requests for an answer in as long as at most so many wait for their decision or their record.

    A request whose model is being called waits for its provider: of those there may be any number. Every
    other request under way takes the router's own time, so their number is the length of its queue. Past the
    limit a request is refused before its body is read, in its own dialect, with the time to come back.
    So is each request while nearly all file descriptors are in use: the rest is for accepting clients, since
    one that is not accepted learns nothing. Everything that is no request for an answer passes: feedback,
    health, metrics, the operator.

    Args:
        paths: of the requests for an answer; `{...}` stands for anything.
    """

    def __init__(self, app: ASGIApp, paths: Iterable[str]) -> None:
        paths = tuple(paths)
        self.app = app
        self.n_under_way = 0
        self._plain = frozenset(path for path in paths if "{" not in path)
        self._suffixes = tuple({path.rpartition("}")[2] for path in paths if "{" in path})
        self._said_at = -math.inf

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._asks_for_an_answer(scope):
            await self.app(scope, receive, send)
            return
        parts: Parts = scope["app"].state.parts
        if are_descriptors_short():
            parts.metrics.overloaded.inc()
            self._say(file_descriptors="nearly all are in use")
            await _refuse("nearly all of its file descriptors are in use", scope, receive, send, closes=True)
            return
        n_waiting = self.n_under_way - parts.catalog.balancer.n_called
        if n_waiting >= (parts.settings.max_waiting_requests or math.inf):
            parts.metrics.overloaded.inc()
            self._say(waiting=n_waiting)
            await _refuse(f"{n_waiting} requests wait", scope, receive, send)
            return
        self.n_under_way += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.n_under_way -= 1

    def _asks_for_an_answer(self, scope: Scope) -> bool:
        if scope["type"] != "http" or scope["method"] != "POST":
            return False
        path: str = scope["path"]
        return path in self._plain or path.endswith(self._suffixes)

    def _say(self, **why: object) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._said_at >= SAID_EVERY_S:
            self._said_at = now
            log.warning("overloaded", **why)


async def _refuse(why: str, scope: Scope, receive: Receive, send: Send, *, closes: bool = False) -> None:
    """Refuse the request, and close its connection if that is to be free for another."""
    refused = refusal(Request(scope), Overloaded(f"the router is overloaded: {why}", retry_after_s=1.0))
    if closes:
        refused.headers["Connection"] = "close"
    await refused(scope, receive, send)
