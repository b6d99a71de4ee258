"""Answers the paths of most requests before the framework's router looks for a route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api import errors
from service.api.scopes import NEEDS, Need, authorise
from service.errors import RouterError

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


class HotRoutes:
    """Answers POST requests for these paths as the framework would, without its search and its injection.

    The same endpoints are routes of the framework too, which documents them and answers other methods.
    """

    def __init__(
        self, app: ASGIApp, endpoints: Mapping[str, Endpoint], needs: Mapping[str, Need] = NEEDS
    ) -> None:
        self.app = app
        self.endpoints = {path: (endpoint, needs[f"POST {path}"]) for path, endpoint in endpoints.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_post = scope["type"] == "http" and scope["method"] == "POST" and not scope.get("root_path")
        found = self.endpoints.get(scope["path"]) if is_post else None
        if found is None:
            await self.app(scope, receive, send)
            return
        endpoint, need = found
        request = Request(scope, receive, send)
        try:
            authorise(scope["state"], need, scope)
            response = await endpoint(request)
        except RouterError as error:
            response = errors.response(request, error)
        except ClientDisconnect:
            response = errors.client_closed()
        await response(scope, receive, send)
