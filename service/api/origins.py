"""Rejects browser pages of foreign origins, because clients are not authenticated."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.errors import response
from service.errors import ForbiddenOrigin
from service.settings.settings import is_loopback


class OnlyOrigins:
    """Rejects requests whose `Origin` is neither allowed nor the service's own. Only browsers send one."""

    def __init__(self, app: ASGIApp, allowed: Collection[str]) -> None:
        self.app = app
        self.allowed = frozenset(allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            origin = headers.get("origin")
            if origin is not None and not self._is_allowed(origin, headers.get("host", "")):
                error = ForbiddenOrigin(f"origin {origin!r} is not among CORS_ORIGINS", param="Origin")
                await response(Request(scope), error)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _is_allowed(self, origin: str, host: str) -> bool:
        if "*" in self.allowed or origin in self.allowed:
            return True
        try:
            page = urlsplit(origin)
        except ValueError:
            return False
        # A page of the service itself. A foreign page can rebind any other name to this machine.
        return page.netloc == host and is_loopback(page.hostname or "")
