"""/admin/keys: makes, lists, rotates and revokes the keys of callers."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, TypeVar

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response

from service.access.key_desk import IssuedKey, NewKey
from service.api import big_bodies
from service.api.dependencies import BodyDep, PartsDep
from service.api.json_response import JsonAnswer
from service.api.openapi import body_schema, failures
from service.dialects.json_body import invalid, read_form
from service.domain.api_key import ApiKey
from service.domain.basics import DEFAULT_TENANT, Json
from service.domain.caller import Scope
from service.errors import (
    AdminClosed,
    BadRequest,
    BodyTooLarge,
    KeyConflict,
    KeyRequired,
    NotJson,
    Unavailable,
    UnknownKey,
    UnknownModel,
)
from service.parts import Parts
from service.settings.budgets import LimitSettings, amounts_of

PRIVATE = {"Cache-Control": "no-store"}  # of the one answer that has the key itself
MOST_DAYS = 3_650
MOST_HOURS = 24 * 366

Body = TypeVar("Body", bound=BaseModel)
Visible = Annotated[str, Field(pattern=r"^[!-~]{1,128}$")]

endpoints = APIRouter(
    prefix="/admin/keys", tags=["admin"], responses=failures(KeyRequired, AdminClosed, Unavailable)
)


class NewApiKey(BaseModel):
    """A key to make."""

    model_config = ConfigDict(extra="forbid")

    name: Visible = Field(description="what it is for; 1 to 128 visible ASCII characters")
    tenant: Visible = Field(DEFAULT_TENANT, description="whose data its callers see")
    scopes: list[Scope] = Field(
        default=["inference", "feedback"],
        min_length=1,
        max_length=4,
        description="what its callers may do: inference, feedback, read, admin",
    )
    models: list[str] | None = Field(
        None, min_length=1, max_length=1_000, description="ids or aliases of models; absent: any"
    )
    expires_in_days: float | None = Field(None, gt=0, le=MOST_DAYS, description="absent: never")
    limits: LimitSettings = Field(LimitSettings(), description="what it may use; absent: anything")


class Rotation(BaseModel):
    """How a key is replaced."""

    model_config = ConfigDict(extra="forbid")

    overlap_hours: float = Field(24, ge=0, le=MOST_HOURS, description="how long the old key stays valid")


@endpoints.get("")
async def keys(parts: PartsDep) -> Response:
    """Every key, also revoked ones, the newest first. No key itself is kept."""
    return JsonAnswer({"data": [_as_json(key, parts) for key in await parts.key_desk.listed()]})


@endpoints.post(
    "",
    status_code=201,
    openapi_extra=body_schema("NewApiKey"),
    responses=failures(BadRequest, UnknownModel, KeyConflict, BodyTooLarge, NotJson),
)
async def create(parts: PartsDep, body: BodyDep) -> Response:
    """Make a key. The answer alone shows it."""
    wanted = await big_bodies.read(parts, body, partial(_read, NewApiKey))
    for name in wanted.models or ():
        if parts.embeddings.named(name) is None and parts.moderations.named(name) is None:
            parts.catalog.known(name, param="models")
    days = wanted.expires_in_days
    issued = await parts.key_desk.create(
        NewKey(
            wanted.name,
            wanted.tenant,
            frozenset(wanted.scopes),
            None if wanted.models is None else frozenset(wanted.models),
            None if days is None else timedelta(days=days),
            wanted.limits.amounts,
        )
    )
    return _issued(parts, issued)


@endpoints.post(
    "/{key:path}/rotate",
    status_code=201,
    openapi_extra=body_schema("Rotation"),
    responses=failures(BadRequest, UnknownKey, KeyConflict, BodyTooLarge, NotJson),
)
async def rotate(parts: PartsDep, key: str, body: BodyDep) -> Response:
    """Make a key with the same rights; the old one stays valid for the overlap. `key` is an id or a name."""
    wanted = await big_bodies.read(parts, body or b"{}", partial(_read, Rotation))
    return _issued(parts, await parts.key_desk.rotate(key, timedelta(hours=wanted.overlap_hours)))


@endpoints.delete("/{key:path}", responses=failures(UnknownKey, KeyConflict))
async def revoke(parts: PartsDep, key: str) -> Response:
    """Revoke a key in all replicas. `key` is an id or a name."""
    revoked = await parts.key_desk.revoke(key)
    return JsonAnswer({"id": str(revoked.key_id), "name": revoked.name, "revoked": True})


def _issued(parts: Parts, issued: IssuedKey) -> Response:
    return JsonAnswer({"key": issued.secret, **_as_json(issued.key, parts)}, 201, headers=PRIVATE)


def _read(kind: type[Body], body: bytes) -> Body:
    try:
        return kind.model_validate(read_form(body))
    except ValidationError as error:
        raise invalid(error) from error


def _as_json(key: ApiKey, parts: Parts) -> Json:
    return {
        "id": str(key.key_id),
        "name": key.name,
        "tenant": key.tenant,
        "scopes": sorted(key.scopes),
        "models": None if key.models is None else sorted(key.models),
        "state": parts.key_desk.state_of(key),
        "created_at": key.created_at.isoformat(),
        "expires_at": _iso(key.expires_at),
        "revoked_at": _iso(key.revoked_at),
        "last_used_at": _iso(key.last_used_at),
        "replaces": None if key.replaces is None else str(key.replaces),
        "limits": amounts_of(key.limits),
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
