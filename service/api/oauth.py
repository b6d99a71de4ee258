"""Logins at providers by OAuth, for the operator."""

from __future__ import annotations

from datetime import datetime
from html import escape
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import HTMLResponse, RedirectResponse, Response

from service.api import big_bodies
from service.api.dependencies import BodyDep, PartsDep, parts_at
from service.api.json_response import JsonAnswer
from service.api.openapi import body_schema, failures
from service.dialects.json_body import invalid, read_form
from service.domain.basics import Json
from service.errors import (
    AdminClosed,
    BadRequest,
    BodyTooLarge,
    KeyRequired,
    LoginRefused,
    NotConfigured,
    NotJson,
    Unavailable,
)
from service.oauth.logins import LoginDesk, LoginStatus
from service.parts import Parts

# The address of a callback holds a code: it is not kept, and no other server learns it.
PRIVATE = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
MAX_PARAM = 8192


class LoginRequest(BaseModel):
    """Which login to begin, refresh or end."""

    model_config = ConfigDict(extra="forbid")

    provider: str = Field(max_length=128, description="entry of `providers_auth`")


async def desk_of(parts: PartsDep) -> LoginDesk:
    """The logins of this router. Raises NotConfigured: it has none."""
    if parts.logins is None:
        raise NotConfigured("providers_auth has no entry, so there is nothing to log in to")
    return parts.logins


DeskDep = Annotated[LoginDesk, Depends(desk_of)]
Param = Annotated[str | None, Query(max_length=MAX_PARAM)]

endpoints = APIRouter(prefix="/oauth", tags=["oauth"], responses=failures(NotConfigured, Unavailable))
_WRITE_ERRORS = (KeyRequired, AdminClosed, BadRequest, BodyTooLarge, NotJson)


@endpoints.get("/authorize", include_in_schema=False)
async def open_login(request: Request, desk: DeskDep, provider: Annotated[str, Query()]) -> Response:
    """Begin a login at a provider, and lead the browser there."""
    login = await desk.begin(provider, _port(request))
    return RedirectResponse(login.url, 302, headers=PRIVATE)


@endpoints.post(
    "/authorize",
    openapi_extra=body_schema("LoginRequest"),
    responses=failures(*_WRITE_ERRORS),
)
async def begin_login(request: Request, parts: PartsDep, desk: DeskDep, body: BodyDep) -> Response:
    """Begin a login at a provider; the answer has the URL to open in a browser."""
    login = await desk.begin(await _provider(parts, body), _port(request))
    answer = {
        "provider": login.provider,
        "authorize_url": login.url,
        "redirect_url": login.redirect_url,
        "expires_at": login.expires_at.isoformat(),
    }
    return JsonAnswer(answer, headers=PRIVATE)


@endpoints.get("/callback", include_in_schema=False)
async def callback(desk: DeskDep, state: Param = None, code: Param = None, error: Param = None) -> Response:
    """Where the provider leads the browser after a login. The `state` of the login is its only key."""
    name = await desk.finish(state or "", code, error)
    page = f"<!doctype html><title>Logged in</title><p>Logged in to {escape(name)}. You can close this page."
    return HTMLResponse(page, headers=PRIVATE)


@endpoints.get("/status", responses=failures(KeyRequired, AdminClosed))
async def status(parts: PartsDep, desk: DeskDep) -> Response:
    """The login at each provider, with the models that need it."""
    return JsonAnswer({"providers": [_as_json(login, parts) for login in desk.statuses()]})


@endpoints.post(
    "/refresh",
    openapi_extra=body_schema("LoginRequest"),
    responses=failures(*_WRITE_ERRORS, LoginRefused),
)
async def refresh(parts: PartsDep, desk: DeskDep, body: BodyDep) -> Response:
    """Refresh the token of a provider now."""
    return JsonAnswer(_as_json(await desk.refresh(await _provider(parts, body)), parts))


@endpoints.post(
    "/logout",
    openapi_extra=body_schema("LoginRequest"),
    responses=failures(*_WRITE_ERRORS),
)
async def log_out(parts: PartsDep, desk: DeskDep, body: BodyDep) -> Response:
    """Forget the tokens of a provider in all replicas, and revoke them at the provider."""
    name = await _provider(parts, body)
    not_revoked = await desk.log_out(name)
    return JsonAnswer({**_as_json(desk.status(name), parts), "not_revoked": not_revoked})


async def _provider(parts: Parts, body: bytes) -> str:
    return (await big_bodies.read(parts, body, _read)).provider


def _read(body: bytes) -> LoginRequest:
    try:
        return LoginRequest.model_validate(read_form(body))
    except ValidationError as error:
        raise invalid(error) from error


def _port(request: Request) -> int:
    """The port that the router listens on."""
    server: tuple[str, int] | None = request.scope.get("server")
    return parts_at(request).settings.port if server is None or not server[1] else server[1]


def _as_json(login: LoginStatus, parts: Parts) -> Json:
    every_arm = (*parts.catalog.arms, *parts.catalog.aside)
    return {
        "provider": login.provider,
        "state": login.state,
        "problem": login.problem,
        "expires_at": _iso(login.expires_at),
        "obtained_at": _iso(login.obtained_at),
        "is_refreshable": login.is_refreshable,
        "scopes": list(login.scopes),
        "models": [arm.arm_id for arm in every_arm if arm.auth == login.provider],
        "log_in_at": login.log_in_at,
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
