"""POST /feedback and DELETE /feedback/{request_id}."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from starlette.responses import Response

from service.api.dependencies import REQUEST_ID, REQUEST_ID_RULE, BodyDep, PartsDep, PathRequestId, TenantDep
from service.api.json_response import JsonAnswer
from service.api.openapi import body_schema, failures
from service.dialects.openai import Location, field_path, invalid
from service.dialects.turns import MAX_KEY_CHARS
from service.domain.basics import Json
from service.domain.feedback import ConversationFeedback, Feedback, Learned
from service.errors import BadRequest, BodyTooLarge, Unavailable, UnknownRequest
from service.parts import Parts

endpoints = APIRouter(tags=["feedback"])
MAX_FEEDBACKS = 1_000
VERDICTS = (("good", 1.0), ("bad", 0.0))


def _storable(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not hold NUL")
    return value


FeedbackText = Annotated[str, StringConstraints(max_length=10_000), AfterValidator(_storable)]
SessionId = Annotated[str, StringConstraints(min_length=1, max_length=MAX_KEY_CHARS)]


class _ScoreFields(BaseModel):
    """What somebody says, whatever of."""

    model_config = ConfigDict(extra="forbid", strict=True)

    verdict: Literal["good", "bad"] | None = Field(
        None, description="for who has no score: good is 1, bad is 0; a score beside it goes first"
    )
    score: float = Field(ge=0, le=1, allow_inf_nan=False, description="0: useless, 1: perfect")
    feedback_text: FeedbackText | None = None

    @model_validator(mode="before")
    @classmethod
    def _score_of_a_verdict(cls, given: object) -> object:
        if not isinstance(given, dict) or "score" in given:
            return given
        scores = [score for verdict, score in VERDICTS if given.get("verdict") == verdict]
        return {**given, "score": scores[0]} if scores else given


class FeedbackRequest(_ScoreFields):
    """What somebody says of an answer."""

    request_id: str = Field(description="the X-Request-ID of the request")

    @field_validator("request_id")
    @classmethod
    def _is_a_request_id(cls, value: str) -> str:
        if not REQUEST_ID.fullmatch(value):
            raise ValueError(REQUEST_ID_RULE)
        return value


class ConversationFeedbackRequest(_ScoreFields):
    """What somebody says of a whole conversation."""

    session_id: SessionId = Field(description="the session id its requests carried")


def _of_what(given: object) -> str:
    names_a_session = isinstance(given, dict) and "session_id" in given and "request_id" not in given
    return SESSION if names_a_session else REQUEST


REQUEST, SESSION = "of a request", "of a session"
Given = FeedbackRequest | ConversationFeedbackRequest
AnyFeedback = Annotated[
    Annotated[FeedbackRequest, Tag(REQUEST)] | Annotated[ConversationFeedbackRequest, Tag(SESSION)],
    Discriminator(_of_what),
]
ONE: TypeAdapter[Given] = TypeAdapter(AnyFeedback)
MANY: TypeAdapter[list[Given]] = TypeAdapter(
    Annotated[list[AnyFeedback], Field(min_length=1, max_length=MAX_FEEDBACKS)]
)


@endpoints.post(
    "/feedback",
    status_code=202,
    openapi_extra=body_schema("FeedbackRequest", "ConversationFeedbackRequest", or_list=True),
    responses=failures(BadRequest, UnknownRequest, BodyTooLarge, Unavailable),
)
async def feedback(parts: PartsDep, tenant: TenantDep, body: BodyDep) -> Response:
    """Score an answer, a conversation, or a list of them. Answered after commit; the newest score stands."""
    given = _read(body)
    if isinstance(given, list):
        return JsonAnswer([await _learn_if_known(parts, tenant, one) for one in given], 202)
    return JsonAnswer(await _learn(parts, tenant, given), 202)


@endpoints.delete("/feedback", status_code=202, responses=failures(BadRequest, UnknownRequest, Unavailable))
async def withdraw_session(
    parts: PartsDep, tenant: TenantDep, session_id: Annotated[SessionId, Query()]
) -> Response:
    """Take back what was said of a conversation; what was said of its requests themselves stays."""
    withdrawal = ConversationFeedback(tenant, session_id, None, None, datetime.now(UTC))
    return JsonAnswer(await _teach_conversation(parts, withdrawal), 202)


@endpoints.delete(
    "/feedback/{request_id:path}", status_code=202, responses=failures(UnknownRequest, Unavailable)
)
async def withdraw(parts: PartsDep, tenant: TenantDep, request_id: PathRequestId) -> Response:
    """Take back what was said of an answer; the evidence is as if it had never been said."""
    withdrawal = Feedback(tenant, request_id, None, None, datetime.now(UTC))
    return JsonAnswer(await _teach(parts, withdrawal), 202)


async def _learn(parts: Parts, tenant: str, given: Given) -> Json:
    said = given.score, given.feedback_text, datetime.now(UTC)
    if isinstance(given, ConversationFeedbackRequest):
        return await _teach_conversation(parts, ConversationFeedback(tenant, given.session_id, *said))
    return await _teach(parts, Feedback(tenant, given.request_id, *said))


async def _teach(parts: Parts, feedback: Feedback) -> Json:
    learned = await parts.learner.learn(feedback)
    parts.metrics.learned(learned)
    return _as_json(learned)


async def _teach_conversation(parts: Parts, feedback: ConversationFeedback) -> Json:
    learned_all = await parts.learner.learn_conversation(feedback)
    for learned in learned_all.learned:
        parts.metrics.learned(learned)
    return {
        "session_id": learned_all.session_id,
        "weight": learned_all.weight,
        "requests": [_as_json(learned) for learned in learned_all.learned],
    }


async def _learn_if_known(parts: Parts, tenant: str, given: Given) -> Json:
    try:
        return await _learn(parts, tenant, given)
    except UnknownRequest:
        return {**given.model_dump(include={"request_id", "session_id"}), "status": "unknown"}


def _as_json(learned: Learned) -> Json:
    return {
        "request_id": learned.request_id,
        "status": learned.status,
        "model": learned.arm_id,
        "reward": learned.reward,
        "event_id": learned.event_id,
    }


def _read(body: bytes) -> Given | list[Given]:
    try:
        # json, not orjson: it reads NaN, so that the error can say which field must be finite
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"body must be JSON in UTF-8: {error}") from error
    try:
        return MANY.validate_python(given) if isinstance(given, list) else ONE.validate_python(given)
    except ValidationError as error:
        raise invalid(error, _field) from error


def _field(location: Location) -> str:
    return field_path(tuple(part for part in location if part not in {REQUEST, SESSION}))
