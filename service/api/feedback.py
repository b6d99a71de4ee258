"""POST and DELETE /feedback, DELETE /feedback/{request_id}."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import structlog
from fastapi import APIRouter, Query, Request
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

from service.api import big_bodies
from service.api.dependencies import (
    REQUEST_ID,
    REQUEST_ID_RULE,
    CallerDep,
    PartsDep,
    PathRequestId,
    body_of,
    caller_at,
    parts_at,
    require_json,
)
from service.api.hot_routes import Endpoint
from service.api.json_response import JsonAnswer
from service.api.openapi import body_schema, failures
from service.dialects.json_body import Location, field_path, invalid, items, read_form
from service.dialects.session_names import MAX_KEY_CHARS
from service.domain.basics import Json
from service.domain.caller import Caller
from service.domain.clock import now
from service.domain.feedback import ConversationFeedback, Feedback, Learned, Rater
from service.errors import BadRequest, BodyTooLarge, NotJson, Unavailable, UnknownRequest
from service.parts import Parts

log = structlog.get_logger(__name__)
endpoints = APIRouter(tags=["feedback"])
MAX_FEEDBACKS = 1_000
VERDICTS = (("good", 1.0), ("bad", 0.0))


def _storable(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not contain NUL")
    return value


FeedbackText = Annotated[str, StringConstraints(max_length=10_000), AfterValidator(_storable)]
Source = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(_storable)]
SessionId = Annotated[str, StringConstraints(min_length=1, max_length=MAX_KEY_CHARS)]


class _ScoreFields(BaseModel):
    """The score of an answer or of a conversation."""

    model_config = ConfigDict(extra="forbid", strict=True)

    verdict: Literal["good", "bad"] | None = Field(
        None, description="alternative to score: good is 1, bad is 0; ignored if score is set"
    )
    score: float = Field(ge=0, le=1, allow_inf_nan=False, description="0: useless, 1: perfect")
    feedback_text: FeedbackText | None = None
    source: Source | None = Field(None, description="where the score comes from, such as user or judge")

    @model_validator(mode="before")
    @classmethod
    def _score_of_verdict(cls, body: object) -> object:
        if not isinstance(body, dict) or "score" in body:
            return body
        scores = [score for verdict, score in VERDICTS if body.get("verdict") == verdict]
        return {**body, "score": scores[0]} if scores else body


class FeedbackRequest(_ScoreFields):
    """Feedback on one answer."""

    request_id: str = Field(description="the X-Request-ID of the answer, or the answer's own id")

    @field_validator("request_id")
    @classmethod
    def _is_a_request_id(cls, value: str) -> str:
        if not REQUEST_ID.fullmatch(value):
            raise ValueError(REQUEST_ID_RULE)
        return value


class ConversationFeedbackRequest(_ScoreFields):
    """Feedback on a whole conversation."""

    session_id: SessionId = Field(description="the session_id of the requests of the conversation")


def _kind(body: object) -> str:
    names_a_conversation = isinstance(body, dict) and "session_id" in body and "request_id" not in body
    return CONVERSATION if names_a_conversation else REQUEST


REQUEST, CONVERSATION = "of a request", "of a conversation"
OneFeedback = FeedbackRequest | ConversationFeedbackRequest
AnyFeedback = Annotated[
    Annotated[FeedbackRequest, Tag(REQUEST)] | Annotated[ConversationFeedbackRequest, Tag(CONVERSATION)],
    Discriminator(_kind),
]
ONE: TypeAdapter[OneFeedback] = TypeAdapter(AnyFeedback)
MANY: TypeAdapter[list[OneFeedback]] = TypeAdapter(
    Annotated[list[AnyFeedback], items(MAX_FEEDBACKS, least=1)]
)


@endpoints.post(
    "/feedback",
    status_code=202,
    openapi_extra=body_schema("FeedbackRequest", "ConversationFeedbackRequest", or_list=True),
    responses=failures(BadRequest, UnknownRequest, BodyTooLarge, NotJson, Unavailable),
)
async def feedback(request: Request) -> Response:
    """Score an answer, a conversation, or a list of them. A newer score replaces an older one.

    The response follows the commit.
    """
    require_json(request)
    parts, caller = parts_at(request), caller_at(request)
    scores = await big_bodies.read(parts, await body_of(request), _read)
    if isinstance(scores, list):
        return JsonAnswer([await _learn_if_known(parts, caller, item) for item in scores], 202)
    return JsonAnswer(await _learn(parts, caller, scores), 202)


HOT: dict[str, Endpoint] = {"/feedback": feedback}


@endpoints.delete("/feedback", status_code=202, responses=failures(BadRequest, UnknownRequest, Unavailable))
async def withdraw_from_conversation(
    parts: PartsDep, caller: CallerDep, session_id: Annotated[SessionId, Query()]
) -> Response:
    """Withdraw the feedback on a conversation; the feedback on its single requests stays."""
    withdrawal = ConversationFeedback(caller.tenant, session_id, None, None, now(), Rater(caller.key_id))
    return JsonAnswer(await _teach_conversation(parts, withdrawal), 202)


@endpoints.delete(
    "/feedback/{request_id:path}", status_code=202, responses=failures(UnknownRequest, Unavailable)
)
async def withdraw(parts: PartsDep, caller: CallerDep, request_id: PathRequestId) -> Response:
    """Withdraw the feedback on an answer, and remove its evidence."""
    withdrawal = Feedback(caller.tenant, request_id, None, None, now(), rater=Rater(caller.key_id))
    return JsonAnswer(await _teach(parts, withdrawal), 202)


async def _learn(parts: Parts, caller: Caller, item: OneFeedback) -> Json:
    fields = item.score, item.feedback_text, now()
    rater = Rater(caller.key_id, item.source)
    if isinstance(item, ConversationFeedbackRequest):
        conversation = ConversationFeedback(caller.tenant, item.session_id, *fields, rater=rater)
        return await _teach_conversation(parts, conversation)
    return await _teach(parts, Feedback(caller.tenant, item.request_id, *fields, rater=rater))


async def _teach(parts: Parts, feedback: Feedback) -> Json:
    try:
        learned = await parts.learner.learn(feedback)
    except UnknownRequest as error:
        named = await parts.journal.request_named_by(feedback.tenant, feedback.request_id)
        if named is None:
            raise parts.unknown(error) from error
        learned = await parts.learner.learn(replace(feedback, request_id=named))
    _record(parts, learned)
    return _as_json(learned)


async def _teach_conversation(parts: Parts, feedback: ConversationFeedback) -> Json:
    try:
        learned_all = await parts.learner.learn_conversation(feedback)
    except UnknownRequest as error:
        raise parts.unknown(error) from error
    for learned in learned_all.learned:
        _record(parts, learned, session_id=learned_all.session_id)
    return {
        "session_id": learned_all.session_id,
        "weight": learned_all.weight,
        "requests": [_as_json(learned) for learned in learned_all.learned],
    }


def _record(parts: Parts, learned: Learned, session_id: str | None = None) -> None:
    """Count the feedback, and log it in one line."""
    parts.metrics.learned(learned)
    log.info(
        "feedback",
        request_id=learned.request_id,
        session_id=session_id,
        status=learned.status,
        model=learned.arm_id,
        reward=learned.reward,
    )


async def _learn_if_known(parts: Parts, caller: Caller, item: OneFeedback) -> Json:
    try:
        return await _learn(parts, caller, item)
    except UnknownRequest:
        return {**item.model_dump(include={"request_id", "session_id"}), "status": "unknown"}


def _as_json(learned: Learned) -> Json:
    return {
        "request_id": learned.request_id,
        "status": learned.status,
        "model": learned.arm_id,
        "reward": learned.reward,
        "event_id": learned.event_id,
    }


def _read(body: bytes) -> OneFeedback | list[OneFeedback]:
    content = read_form(body)
    try:
        return MANY.validate_python(content) if isinstance(content, list) else ONE.validate_python(content)
    except ValidationError as error:
        raise invalid(error, _field) from error


def _field(location: Location) -> str:
    return field_path(tuple(part for part in location if part not in {REQUEST, CONVERSATION}))
