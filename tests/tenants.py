"""Several tenants of one application, for tests: a header names the tenant of each request.

The header takes the place of a key. Like a key it passes through the tools of `/mcp`.
"""

from __future__ import annotations

from dataclasses import dataclass

import httpx
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.entrance import Entrance
from service.domain.basics import DEFAULT_TENANT
from service.domain.caller import ALL_SCOPES, Caller

TENANT_HEADER = "X-Router-Test-Tenant"


@dataclass(frozen=True, slots=True)
class TenantsByHeader:
    """Sets the caller of each request by its header, in front of an application."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        tenant = Headers(scope=scope).get(TENANT_HEADER, DEFAULT_TENANT)
        scope["state"]["caller"] = Caller(tenant, ALL_SCOPES)
        await self.app(scope, receive, send)


def with_tenants(entrance: ASGIApp) -> ASGIApp:
    """The application, whose requests belong to the tenants that they name."""
    assert isinstance(entrance, Entrance)
    entrance.app = TenantsByHeader(entrance.app)
    return entrance


def client_of(app: ASGIApp, tenant: str) -> httpx.AsyncClient:
    """A client of the application `with_tenants`, whose requests are of the tenant."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=("127.0.0.1", 1))
    return httpx.AsyncClient(
        transport=transport,
        base_url="http://127.0.0.1:8080",
        headers={TENANT_HEADER: tenant},
        timeout=60.0,
    )
