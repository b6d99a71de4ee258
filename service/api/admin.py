"""/admin/models: lists, adds, changes and retires models at runtime."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import partial
from typing import Annotated, Literal, TypeVar

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from starlette.responses import Response

from service.api import big_bodies
from service.api.dependencies import BodyDep, PartsDep, TenantDep
from service.api.json_response import JsonAnswer
from service.api.openapi import body_schema, failures
from service.arms.lifecycle import ArmChange, ArmOverview
from service.dialects.json_body import field_path, invalid, read_form
from service.domain.basics import Json
from service.domain.credentials import CLIENT
from service.domain.registration import ArmFigures, Shadow
from service.errors import (
    AdminClosed,
    BadRequest,
    BodyTooLarge,
    KeyRequired,
    ModelConflict,
    NotJson,
    Unavailable,
    UnknownModel,
)
from service.parts import Parts
from service.routing.priors import starting_priors
from service.settings.models import FREE_PRICE, ModelSettings, PriceSettings

_LOGIN = re.compile(r"//[^/]*@")  # the login in a base_url, which answers must not show

Body = TypeVar("Body", bound=BaseModel)
Reason = Annotated[
    str, Field(max_length=1_000, description="why the model is added or changed; stored with the model")
]


class ShadowBody(BaseModel):
    """The share and the budget of a model in shadow."""

    model_config = ConfigDict(extra="forbid")

    share: float = Field(
        gt=0, le=1, strict=True, description="share of the requests that the model could answer"
    )
    usd_per_day: Decimal = Field(gt=0, le=100_000, description="highest cost per day (UTC), US dollars")


class NewModel(ModelSettings):
    """A model to add: an entry of `models:`, with its shadow and a reason."""

    shadow: ShadowBody | None = Field(None, description="start in shadow; absent: start active")
    reason: Reason | None = None


class ModelChange(BaseModel):
    """A change of a model; absent fields stay as they are."""

    model_config = ConfigDict(extra="forbid")

    state: Literal["active", "shadow", "draining", "retired"] | None = None
    price: PriceSettings | None = Field(None, description="`free`, or US dollars per million tokens")
    shadow: ShadowBody | None = None
    reason: Reason | None = None

    @field_validator("price", mode="before")
    @classmethod
    def _free_is_a_price(cls, price: object) -> object:
        return FREE_PRICE if price == "free" else price

    @model_validator(mode="after")
    def _changes_something(self) -> ModelChange:
        if self.state is None and self.price is None and self.shadow is None:
            raise ValueError("one of state, price and shadow is required")
        return self


endpoints = APIRouter(
    prefix="/admin",
    tags=["admin"],
    responses=failures(KeyRequired, AdminClosed, Unavailable),
)


@endpoints.get("/models")
async def models(parts: PartsDep, tenant: TenantDep) -> Response:
    """Every model, retired models included, with its state, its price and the tenant's evidence."""
    return JsonAnswer(
        {"data": [_as_json(overview, parts) for overview in await parts.lifecycle.listed(tenant)]}
    )


@endpoints.post(
    "/models",
    status_code=201,
    openapi_extra=body_schema("NewModel"),
    responses=failures(BadRequest, ModelConflict, BodyTooLarge, NotJson),
)
async def add(parts: PartsDep, tenant: TenantDep, body: BodyDep) -> Response:
    """Add a model, in all replicas."""
    new = await big_bodies.read(parts, body, partial(_read, NewModel))
    entry = ModelSettings.model_validate(new.model_dump(exclude={"shadow", "reason"}))
    await parts.lifecycle.add(entry, _shadow(new.shadow), new.reason)
    return JsonAnswer(_as_json(await parts.lifecycle.show(tenant, new.id), parts), 201)


@endpoints.patch(
    "/models/{model_id:path}",
    openapi_extra=body_schema("ModelChange"),
    responses=failures(BadRequest, UnknownModel, ModelConflict, BodyTooLarge, NotJson),
)
async def change(parts: PartsDep, tenant: TenantDep, model_id: str, body: BodyDep) -> Response:
    """Change the price or the state of a model, in all replicas."""
    wanted = await big_bodies.read(parts, body, partial(_read, ModelChange))
    price = None if wanted.price is None else wanted.price.to_price()
    arm_change = ArmChange(wanted.state, price, _shadow(wanted.shadow), wanted.reason)
    await parts.lifecycle.change(model_id, arm_change)
    return JsonAnswer(_as_json(await parts.lifecycle.show(tenant, model_id), parts))


@endpoints.delete("/models/{model_id:path}", responses=failures(UnknownModel, ModelConflict))
async def retire(parts: PartsDep, tenant: TenantDep, model_id: str) -> Response:
    """Retire a model, in all replicas. Its evidence stays."""
    await parts.lifecycle.change(model_id, ArmChange(state="retired"))
    return JsonAnswer(_as_json(await parts.lifecycle.show(tenant, model_id), parts))


def _read(kind: type[Body], body: bytes) -> Body:
    if b"\\u0000" in body:
        raise BadRequest("body must not contain NUL")
    content = read_form(body)
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "extra_forbidden":  # the message omits the value, which may be a key
            field = field_path(first["loc"])
            raise BadRequest(f"{field}: unknown field", param=field) from error
        if first["loc"] == ("api_key",):  # as above
            rule = f"api_key: must be {CLIENT!r}; a key of the router's own is named by api_key_env"
            raise BadRequest(rule, param="api_key") from error
        raise invalid(error) from error


def _shadow(body: ShadowBody | None) -> Shadow | None:
    return None if body is None else Shadow(body.share, body.usd_per_day)


def _as_json(overview: ArmOverview, parts: Parts) -> Json:
    arm, registration = overview.arm, overview.registration
    return {
        "id": arm.arm_id,
        "state": overview.state,
        "origin": "configured" if registration is None or registration.entry is None else "runtime",
        "provider": arm.provider,
        "model": arm.model,
        "base_url": None if arm.base_url is None else _LOGIN.sub("//", arm.base_url),
        "api_key_env": arm.api_key_env,
        "api_key": CLIENT if arm.takes_client_key else None,
        "auth": arm.auth,
        "aliases": list(arm.aliases),
        "price": None if arm.price is None else PriceSettings.of(arm.price).model_dump(),
        "price_source": arm.price_source,
        "context_window": arm.context_window,
        "max_output_tokens": arm.max_output_tokens,
        "capabilities": sorted(arm.capabilities),
        "lacks": sorted(arm.lacks),
        "data_use": sorted(arm.data_use),
        "extra_fields": sorted(arm.extra_fields),
        "set_fields": dict(arm.set_fields),
        "drop": sorted(arm.drop),
        "rename": dict(arm.rename),
        "variant_of": arm.variant_of,
        "prompt": None if arm.prompt is None else arm.prompt.name,
        "prior": starting_priors(parts.catalog, parts.router.knobs).get(arm.arm_id),
        "is_newcomer": registration is not None and registration.is_newcomer,
        "reason": None if registration is None else registration.reason,
        "added_at": None if registration is None else registration.added_at.isoformat(),
        "changed_at": None if registration is None else registration.changed_at.isoformat(),
        "shadow": _shadow_as_json(overview),
        "evidence": None if overview.figures is None else _evidence_as_json(overview.figures),
    }


def _shadow_as_json(overview: ArmOverview) -> Json | None:
    if overview.registration is None or overview.registration.shadow is None:
        return None
    shadow, figures = overview.registration.shadow, overview.figures
    return {
        "share": shadow.share,
        "usd_per_day": shadow.usd_per_day,
        "calls": figures.n_shadow_calls if figures else 0,
        "errors": figures.n_shadow_errors if figures else 0,
        "cost_usd": _shadow_usd(figures) if figures else 0,
        "calls_of_unknown_cost": figures.n_shadow_unpriced if figures else 0,
        "mean_latency_s": figures.shadow_latency_s if figures else None,
    }


def _shadow_usd(figures: ArmFigures) -> Decimal | None:
    """The known dollars; None if no call's are known."""
    if figures.n_shadow_unpriced and figures.n_shadow_unpriced == figures.n_shadow_calls:
        return None
    return figures.shadow_usd


def _evidence_as_json(figures: ArmFigures) -> Json:
    """The evidence of a model; its costs are in today's prices."""
    sums = figures.sums
    return {
        "n_rated": sums.n,
        "mean_reward": sums.reward_sum / sums.n if sums.n else None,
        "n_outcomes": sums.n_outcomes,
        "mean_latency_s": sums.latency_s_sum / sums.n_outcomes if sums.n_outcomes else None,
        "n_outcomes_of_unknown_cost": sums.n_unpriced,
        "mean_cost_usd": sums.cost_usd_sum / sums.n_priced if sums.n_priced else None,
    }
