"""POST /feedback and DELETE /feedback/{request_id}."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    field_validator,
)
from starlette.responses import Response

from service.api.answers import JsonAnswer
from service.api.deps import REQUEST_ID, REQUEST_ID_RULE, BodyDep, PartsDep, PathRequestId, TenantDep
from service.api.openapi import body_schema, failures
from service.dialects.openai import invalid
from service.errors import BadRequest, BodyTooLarge, Unavailable, UnknownRequest
from service.parts import Parts
from service.types import Feedback, Json, Learned

endpoints = APIRouter(tags=["feedback"])
MAX_FEEDBACKS = 1_000


class FeedbackRequest(BaseModel):
    """What somebody says of an answer."""

    model_config = ConfigDict(extra="forbid", strict=True)

    request_id: str = Field(description="the X-Request-ID of the request")
    score: float = Field(ge=0, le=1, allow_inf_nan=False, description="0: useless, 1: perfect")
    feedback_text: Annotated[str, StringConstraints(max_length=10_000)] | None = None

    @field_validator("request_id")
    @classmethod
    def _is_a_request_id(cls, value: str) -> str:
        if not REQUEST_ID.fullmatch(value):
            raise ValueError(REQUEST_ID_RULE)
        return value

    @field_validator("feedback_text")
    @classmethod
    def _can_be_stored(cls, value: str | None) -> str | None:
        if value is not None and "\0" in value:
            raise ValueError("must not hold NUL")
        return value


ONE: TypeAdapter[FeedbackRequest] = TypeAdapter(FeedbackRequest)
MANY: TypeAdapter[list[FeedbackRequest]] = TypeAdapter(
    Annotated[list[FeedbackRequest], Field(min_length=1, max_length=MAX_FEEDBACKS)]
)


@endpoints.post(
    "/feedback",
    status_code=202,
    openapi_extra=body_schema("FeedbackRequest", or_list=True),
    responses=failures(BadRequest, UnknownRequest, BodyTooLarge, Unavailable),
)
async def feedback(parts: PartsDep, tenant: TenantDep, body: BodyDep) -> Response:
    """Score an answer, or a list of them. Answered after commit; the newest score of a request stands."""
    given = _read(body)
    if isinstance(given, FeedbackRequest):
        return JsonAnswer(_said(await _learn(parts, tenant, given)), 202)
    return JsonAnswer([await _learn_if_known(parts, tenant, one) for one in given], 202)


@endpoints.delete(
    "/feedback/{request_id:path}", status_code=202, responses=failures(UnknownRequest, Unavailable)
)
async def withdraw(parts: PartsDep, tenant: TenantDep, request_id: PathRequestId) -> Response:
    """Take back what was said of an answer; the evidence is as if it had never been said."""
    withdrawal = Feedback(tenant, request_id, None, None, datetime.now(UTC))
    return JsonAnswer(_said(await _teach(parts, withdrawal)), 202)


async def _learn(parts: Parts, tenant: str, given: FeedbackRequest) -> Learned:
    said = Feedback(tenant, given.request_id, given.score, given.feedback_text, datetime.now(UTC))
    return await _teach(parts, said)


async def _teach(parts: Parts, feedback: Feedback) -> Learned:
    learned = await parts.learner.learn(feedback)
    parts.metrics.learned(learned)
    return learned


async def _learn_if_known(parts: Parts, tenant: str, given: FeedbackRequest) -> Json:
    try:
        return _said(await _learn(parts, tenant, given))
    except UnknownRequest:
        return {"request_id": given.request_id, "status": "unknown"}


def _said(learned: Learned) -> Json:
    return {
        "request_id": learned.request_id,
        "status": learned.status,
        "model": learned.arm_id,
        "reward": learned.reward,
        "event_id": learned.event_id,
    }


def _read(body: bytes) -> FeedbackRequest | list[FeedbackRequest]:
    try:
        # json, not orjson: it reads NaN, so that the error can say which field must be finite
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"body must be JSON in UTF-8: {error}") from error
    try:
        return MANY.validate_python(given) if isinstance(given, list) else ONE.validate_python(given)
    except ValidationError as error:
        raise invalid(error) from error
