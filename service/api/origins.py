"""Rejects browser pages of foreign origins, because clients are not authenticated."""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.errors import response
from service.domain.hosts import origin_at, parse_origin
from service.errors import ForbiddenOrigin


class OnlyOrigins:
    """Rejects what browsers send for pages whose origin is neither allowed nor the service's own.

    It comes after `OnlyHosts`, so that the service's own origin is not one that a foreign page gave itself.

    Args:
        allowed: origins as browsers write them; `*`: every origin that has a name.
    """

    def __init__(self, app: ASGIApp, allowed: Collection[str]) -> None:
        self.app = app
        self.allowed = frozenset(allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (reason := self._reason_against(scope, Headers(scope=scope))):
            error = ForbiddenOrigin(reason, param="Origin")
            await response(Request(scope), error)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _reason_against(self, scope: Scope, headers: Headers) -> str | None:
        """Why the request must not be answered; None: no page sent it, or a page that may."""
        origins = headers.getlist("origin")
        if not origins:
            return None if _is_of_no_page(headers) else "a page of another origin sent no Origin header"
        if len(origins) == 1 and self._is_allowed(origins[0], scope["scheme"], headers["host"]):
            return None
        return f"origin {', '.join(origins)[:200]!r} is not among CORS_ORIGINS"

    def _is_allowed(self, text: str, scheme: str, host: str) -> bool:
        try:
            origin = parse_origin(text)
        except ValueError:  # `null` too, which any page can make of itself
            return False
        return "*" in self.allowed or str(origin) in self.allowed or origin == origin_at(scheme, host)


def _is_of_no_page(headers: Headers) -> bool:
    """Whether a program sent the request, or the user, or a page of the service.

    Browsers send no `Origin` for images and scripts, but say where the page is. A link may lead here.
    """
    if headers.get("sec-fetch-site", "none") in {"none", "same-origin"}:
        return True
    return headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
