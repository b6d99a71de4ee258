"""What every request passes first: its headers are read, it gets its id, and foreign ones are rejected."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.callers import Callers
from service.api.errors import internal_error, log_bug, response
from service.api.hosts import Hosts
from service.api.origins import Origins
from service.api.request_headers import RequestHeaders, check_head
from service.api.request_id import new_request_id, sending_id
from service.api.unread_bodies import UnreadBodies, is_large
from service.domain.caller import NOBODY
from service.domain.clock import now
from service.errors import BadRequest, RouterError
from service.parts import Parts


class Entrance:
    """What a server calls.

    It sets the state `headers`, `received_at`, `request_id` and `caller`, and adds the request id to the
    response. `refusal` is why the caller is nobody, for every route that is not public. `entrance` is itself,
    for what calls the application from within.

    Args:
        framework: the application of the framework, whose parts answer.
        app: what is called with every HTTP request, in front of the framework.
        hosts: the names under which clients may call the service.
        origins: the pages that may call it.
        callers: who may call it.
    """

    def __init__(
        self, framework: FastAPI, app: ASGIApp, hosts: Hosts, origins: Origins, callers: Callers
    ) -> None:
        self.framework = framework
        self.app = app
        self.hosts = hosts
        self.origins = origins
        self.callers = callers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.framework(scope, receive, send)
            return
        scope["app"] = self.framework
        state = scope.setdefault("state", {})
        state["entrance"] = self
        state["received_at"] = now()
        state["request_id"] = new_request_id()  # replaced by the client's id once that is validated
        state["headers"] = headers = RequestHeaders(scope["headers"])
        send = sending_id(send, state)
        app = self.app
        try:
            check_head(scope, headers)
            self.hosts.check(headers)
            self.origins.check(headers, scope["scheme"])  # after the host, which it believes
        except BadRequest as error:
            app = response(Request(scope), error)
        else:
            self._identify(state, headers, scope)
        if is_large(headers):
            app = UnreadBodies(app)
        try:
            await app(scope, receive, send)
        except Exception as error:  # the framework has logged and answered its own
            log_bug(scope, error)
            if "has_begun" not in state:
                await internal_error(Request(scope))(scope, receive, send)
            raise  # for the server, which logs it and closes the connection

    def _identify(self, state: dict[str, Any], headers: RequestHeaders, scope: Scope) -> None:
        parts: Parts = self.framework.state.parts
        try:
            state["caller"] = self.callers.caller(headers, scope, parts.keyring)
        except RouterError as error:  # for the routes to raise, because some answer everybody
            state["caller"], state["refusal"] = NOBODY, error
