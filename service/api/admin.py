"""/admin/models: the models at runtime."""

from __future__ import annotations

import hmac
import json
import re
from decimal import Decimal
from typing import Annotated, Literal, TypeVar

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.responses import Response

from service.api.dependencies import BodyDep, PartsDep, parts_at
from service.api.json_response import JsonAnswer
from service.api.openapi import body_schema, failures
from service.arms.lifecycle import ArmChange, ArmOverview
from service.dialects.openai import field_path, invalid
from service.domain.basics import Json
from service.domain.registration import ArmFigures, Shadow
from service.errors import (
    AdminClosed,
    BadRequest,
    BodyTooLarge,
    KeyRequired,
    ModelConflict,
    Unavailable,
    UnknownModel,
)
from service.settings.models import ModelSettings, PriceSettings
from service.settings.settings import is_loopback

_LOGIN = re.compile(r"//[^/]*@")  # of a base_url in the settings; not for answers

Body = TypeVar("Body", bound=BaseModel)
Reason = Annotated[str, Field(max_length=1_000, description="kept with the model")]


class ShadowBody(BaseModel):
    """How much of the traffic a model in shadow answers."""

    model_config = ConfigDict(extra="forbid")

    share: float = Field(gt=0, le=1, strict=True, description="of the requests it could answer")
    usd_per_day: Decimal = Field(gt=0, le=100_000, description="most it may cost in a day (UTC), US dollars")


class NewModel(ModelSettings):
    """An entry of `models:`."""

    shadow: ShadowBody | None = Field(None, description="begin in shadow; absent: begin active")
    reason: Reason | None = None


class ModelChange(BaseModel):
    """What is to be otherwise of a model."""

    model_config = ConfigDict(extra="forbid")

    state: Literal["active", "shadow", "draining", "retired"] | None = None
    price: PriceSettings | None = None
    shadow: ShadowBody | None = None
    reason: Reason | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> ModelChange:
        if self.state is None and self.price is None and self.shadow is None:
            raise ValueError("one of state, price and shadow is required")
        return self


async def admin_only(request: Request) -> None:
    """Let in who shows the ADMIN_KEY; without one, let in everybody who can reach loopback.

    Raises:
        KeyRequired: no key was shown, or a wrong one.
        AdminClosed: there is no key, and the service can be reached from elsewhere.
    """
    settings = parts_at(request).settings
    if settings.admin_key is None:
        if not is_loopback(settings.host):
            raise AdminClosed(f"/admin needs ADMIN_KEY when the service listens on {settings.host}")
        return
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    shown = request.headers.get("x-api-key") or (bearer.strip() if scheme.lower() == "bearer" else "")
    if not hmac.compare_digest(shown.encode(), settings.admin_key.get_secret_value().encode()):
        raise KeyRequired("/admin needs the ADMIN_KEY, as `Authorization: Bearer ...` or `x-api-key`")


endpoints = APIRouter(
    prefix="/admin",
    tags=["admin"],
    dependencies=[Depends(admin_only)],
    responses=failures(KeyRequired, AdminClosed, Unavailable),
)


@endpoints.get("/models")
async def models(parts: PartsDep) -> Response:
    """Every model with its state, its price and what was observed of it, retired ones too."""
    return JsonAnswer({"data": [_shown(listed) for listed in await parts.lifecycle.listed()]})


@endpoints.post(
    "/models",
    status_code=201,
    openapi_extra=body_schema("NewModel"),
    responses=failures(BadRequest, ModelConflict, BodyTooLarge),
)
async def add(parts: PartsDep, body: BodyDep) -> Response:
    """Add a model, in all replicas."""
    given = _read(NewModel, body)
    entry = ModelSettings.model_validate(given.model_dump(exclude={"shadow", "reason"}))
    await parts.lifecycle.add(entry, _shadow(given.shadow), given.reason)
    return JsonAnswer(_shown(await parts.lifecycle.show(given.id)), 201)


@endpoints.patch(
    "/models/{model_id:path}",
    openapi_extra=body_schema("ModelChange"),
    responses=failures(BadRequest, UnknownModel, ModelConflict, BodyTooLarge),
)
async def change(parts: PartsDep, model_id: str, body: BodyDep) -> Response:
    """Re-price a model, or change its state, in all replicas."""
    given = _read(ModelChange, body)
    price = None if given.price is None else given.price.to_price()
    await parts.lifecycle.change(model_id, ArmChange(given.state, price, _shadow(given.shadow), given.reason))
    return JsonAnswer(_shown(await parts.lifecycle.show(model_id)))


@endpoints.delete("/models/{model_id:path}", responses=failures(UnknownModel, ModelConflict))
async def retire(parts: PartsDep, model_id: str) -> Response:
    """Retire a model, in all replicas. What is known of it stays."""
    await parts.lifecycle.change(model_id, ArmChange(state="retired"))
    return JsonAnswer(_shown(await parts.lifecycle.show(model_id)))


def _read(kind: type[Body], body: bytes) -> Body:
    if b"\\u0000" in body:
        raise BadRequest("body must not hold NUL")
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"body must be JSON in UTF-8: {error}") from error
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "extra_forbidden":  # which may be a key, by mistake: it is not repeated
            field = field_path(first["loc"])
            raise BadRequest(f"{field}: unknown field", param=field) from error
        raise invalid(error) from error


def _shadow(given: ShadowBody | None) -> Shadow | None:
    return None if given is None else Shadow(given.share, given.usd_per_day)


def _shown(listed: ArmOverview) -> Json:
    arm, registration = listed.arm, listed.registration
    return {
        "id": arm.arm_id,
        "state": listed.state,
        "origin": "configured" if registration is None or registration.entry is None else "runtime",
        "provider": arm.provider,
        "model": arm.model,
        "base_url": None if arm.base_url is None else _LOGIN.sub("//", arm.base_url),
        "api_key_env": arm.api_key_env,
        "aliases": list(arm.aliases),
        "price": {
            "input": arm.price.input,
            "output": arm.price.output,
            "cached_input": arm.price.cached_input,
            "cache_write": arm.price.cache_write,
        },
        "context_window": arm.context_window,
        "max_output_tokens": arm.max_output_tokens,
        "capabilities": sorted(arm.capabilities),
        "lacks": sorted(arm.lacks),
        "data_use": sorted(arm.data_use),
        "extra_fields": sorted(arm.extra_fields),
        "is_newcomer": registration is not None and registration.is_newcomer,
        "reason": None if registration is None else registration.reason,
        "added_at": None if registration is None else registration.added_at.isoformat(),
        "changed_at": None if registration is None else registration.changed_at.isoformat(),
        "shadow": _shown_shadow(listed),
        "evidence": None if listed.figures is None else _shown_evidence(listed.figures),
    }


def _shown_shadow(listed: ArmOverview) -> Json | None:
    if listed.registration is None or listed.registration.shadow is None:
        return None
    shadow, figures = listed.registration.shadow, listed.figures
    return {
        "share": shadow.share,
        "usd_per_day": shadow.usd_per_day,
        "calls": figures.n_shadow_calls if figures else 0,
        "errors": figures.n_shadow_errors if figures else 0,
        "cost_usd": figures.shadow_usd if figures else 0,
        "mean_latency_s": figures.shadow_latency_s if figures else None,
    }


def _shown_evidence(figures: ArmFigures) -> Json:
    """Dollars are in today's prices."""
    sums = figures.sums
    return {
        "n_rated": sums.n,
        "mean_reward": sums.reward_sum / sums.n if sums.n else None,
        "n_outcomes": sums.n_outcomes,
        "mean_latency_s": sums.latency_s_sum / sums.n_outcomes if sums.n_outcomes else None,
        "mean_cost_usd": sums.cost_usd_sum / sums.n_outcomes if sums.n_outcomes else None,
    }
