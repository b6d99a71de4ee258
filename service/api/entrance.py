"""What every request passes first: its headers are read, it gets its id, and foreign ones are rejected."""

from __future__ import annotations

from datetime import UTC, datetime

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.errors import response
from service.api.hosts import Hosts
from service.api.origins import Origins
from service.api.request_headers import RequestHeaders
from service.api.request_id import new_request_id, sending_id
from service.api.unread_bodies import UnreadBodies, is_large
from service.errors import BadRequest


class Entrance:
    """The one middleware of every request.

    It sets the state `headers`, `received_at` and `request_id`, and adds the request id to the response.

    Args:
        hosts: the names under which clients may call the service.
        origins: the pages that may call it.
    """

    def __init__(self, app: ASGIApp, hosts: Hosts, origins: Origins) -> None:
        self.app = app
        self.hosts = hosts
        self.origins = origins
        self.lingering = UnreadBodies(self._admit)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["received_at"] = datetime.now(UTC)
        state["request_id"] = new_request_id()  # replaced by the client's id once that is validated
        state["headers"] = RequestHeaders(scope["headers"])
        admit = self.lingering if is_large(state["headers"]) else self._admit
        await admit(scope, receive, send)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope["state"]
        send = sending_id(send, state)
        try:
            self.hosts.check(state["headers"])
            self.origins.check(state["headers"], scope["scheme"])  # after the host, which it believes
        except BadRequest as error:
            await response(Request(scope), error)(scope, receive, send)
            return
        await self.app(scope, receive, send)
