"""Pages of foreign origins may not call: callers are not authenticated, and a browser calls for any page."""

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
    """Refuses requests whose `Origin` is neither allowed nor the service's own. Programs send none."""

    def __init__(self, app: ASGIApp, allowed: Collection[str]) -> None:
        self.app = app
        self.allowed = frozenset(allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            origin = headers.get("origin")
            if origin is not None and not self._may_call(origin, headers.get("host", "")):
                error = ForbiddenOrigin(f"origin {origin!r} is not among CORS_ORIGINS", param="Origin")
                await response(Request(scope), error)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _may_call(self, origin: str, host: str) -> bool:
        if "*" in self.allowed or origin in self.allowed:
            return True
        try:
            page = urlsplit(origin)
        except ValueError:
            return False
        # A page of our own. Any other name for this machine may be one that a foreign page rebound to it.
        return page.netloc == host and is_loopback(page.hostname or "")
