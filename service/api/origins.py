"""Rejects browser pages of foreign origins, because clients are not authenticated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from service.api.request_headers import RequestHeaders
from service.domain.hosts import origin_at, parse_origin
from service.errors import ForbiddenOrigin


@dataclass(frozen=True, slots=True)
class Origins:
    """The origins of the pages that may call the service, beside its own.

    Args:
        allowed: origins as browsers write them; `*`: every origin that has a name.
    """

    allowed: frozenset[str]

    def check(self, headers: RequestHeaders, scheme: str) -> None:
        """Check what browsers send for a page.

        The host has been checked, so that the service's own origin is not one that a foreign page gave
        itself.

        Raises:
            ForbiddenOrigin: the page's origin is neither allowed nor the service's own.
        """
        if (reason := self._reason_against(headers, scheme)) is not None:
            raise ForbiddenOrigin(reason, param="Origin")

    def _reason_against(self, headers: RequestHeaders, scheme: str) -> str | None:
        """Why the request must not be answered; None: no page sent it, or a page that may."""
        origins = headers.getlist("origin")
        if not origins:
            return None if _is_of_no_page(headers) else "a page of another origin sent no Origin header"
        if len(origins) == 1 and self._is_allowed(origins[0], scheme, headers["host"]):
            return None
        return f"origin {', '.join(origins)[:200]!r} is not among CORS_ORIGINS"

    def _is_allowed(self, text: str, scheme: str, host: str) -> bool:
        try:
            origin = parse_origin(text)
        except ValueError:  # `null` too, which any page can make of itself
            return False
        return "*" in self.allowed or str(origin) in self.allowed or origin == origin_at(scheme, host)


def _is_of_no_page(headers: Mapping[str, str]) -> bool:
    """Whether a program sent the request, or the user, or a page of the service.

    Browsers send no `Origin` for images and scripts, but say where the page is. A link may lead here.
    """
    if headers.get("sec-fetch-site", "none") in {"none", "same-origin"}:
        return True
    return headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
