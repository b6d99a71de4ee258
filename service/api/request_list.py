"""GET /requests: the newest requests of the log, filtered, one page at a time."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Literal
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from service.api.dependencies import PartsDep, TenantDep
from service.api.disconnects import unless_disconnected
from service.api.json_response import JsonAnswer
from service.api.openapi import failures, query_parameters
from service.dialects.json_body import Name, validated
from service.domain.basics import DecisionKind, Json
from service.domain.logged_requests import Place, RequestFilter, RequestStatus, RequestSummary
from service.domain.moments import parse_moment
from service.errors import BadRequest, Unavailable, UnknownModel
from service.parts import Parts

endpoints = APIRouter(tags=["inspect"])

USUAL_LIMIT, MAX_LIMIT = 50, 200
MOMENT = "an ISO 8601 time, in UTC unless it has a time zone, or an age such as 7d, 12h or 30m"


class RequestList(BaseModel):
    """Which requests to list."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    since: str | None = Field(None, max_length=40, description=f"oldest request: {MOMENT}")
    until: str | None = Field(None, max_length=40, description=f"end of the range, exclusive: {MOMENT}")
    model: Name | None = Field(None, description="id or alias of the model that answered, or was tried last")
    decision: DecisionKind | None = Field(None, description="how the model was chosen")
    task: Name | None = Field(None, description="task that the client named")
    status: RequestStatus | None = Field(None, description="outcome; pending: there is none yet")
    rated: Literal["true", "false"] | None = Field(
        None, description="true: the newest feedback is a score; false: it is not"
    )
    session_id: Name | None = Field(None, description="id of the conversation that the client named")
    rule: Name | None = Field(None, description="name of the rule that narrowed the choice")
    tag: str | None = Field(
        None, pattern=r"^[a-z]{1,32}:.{1,128}$", description="tag of the request, such as `intent:error`"
    )
    limit: int = Field(USUAL_LIMIT, ge=1, le=MAX_LIMIT, description="most requests of one page")
    after: str | None = Field(None, max_length=200, description="`next` of the page before")


@endpoints.get(
    "/requests", openapi_extra=query_parameters(RequestList), responses=failures(BadRequest, Unavailable)
)
async def list_requests(request: Request, parts: PartsDep, tenant: TenantDep) -> Response:
    """The newest requests, each as a summary without texts; `next` continues the list."""
    wanted = validated(RequestList, dict(request.query_params))
    after = None if wanted.after is None else _place(wanted.after)
    chosen = _filter(wanted, parts, request.state.received_at)
    one_more = wanted.limit + 1  # whether there is a next page
    found = await unless_disconnected(request, parts.reports.requests(tenant, chosen, one_more, after))
    page = found[: wanted.limit]
    return JsonAnswer(
        {
            "requests": [_summary(summary) for summary in page],
            "next": _cursor(page[-1].place) if len(found) > len(page) else None,
        }
    )


def _filter(wanted: RequestList, parts: Parts, now: datetime) -> RequestFilter:
    return RequestFilter(
        since=_moment("since", wanted.since, now),
        until=_moment("until", wanted.until, now),
        arm_id=_arm_id(parts, wanted.model),
        kind=wanted.decision,
        task=wanted.task,
        status=wanted.status,
        rated=None if wanted.rated is None else wanted.rated == "true",
        session_id=wanted.session_id,
        rule=wanted.rule,
        tag=None if wanted.tag is None else _tag(wanted.tag),
    )


def _tag(text: str) -> tuple[str, str]:
    name, _, value = text.partition(":")
    return name, value


def _moment(param: str, text: str | None, now: datetime) -> datetime | None:
    try:
        return None if text is None else parse_moment(text, now)
    except ValueError as error:
        raise BadRequest(f"{param}: {error}", param=param) from error


def _arm_id(parts: Parts, name: str | None) -> str | None:
    """The id that the log has for a model; a name of today's models, or of one that was removed."""
    if name is None:
        return None
    try:
        return parts.catalog.known(name).arm_id
    except UnknownModel:
        return name


def _cursor(place: Place) -> str:
    text = f"{place.decided_at.isoformat()} {place.decision_id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _place(cursor: str) -> Place:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        decided_at, decision_id = text.split(" ")
        place = Place(datetime.fromisoformat(decided_at), UUID(decision_id))
        if place.decided_at.tzinfo is None:
            raise ValueError("the time has no zone")
    except ValueError as error:
        raise BadRequest(f"after: must be `next` of a page, got {cursor[:40]!r}", param="after") from error
    return place


def _summary(summary: RequestSummary) -> Json:
    return {
        "request_id": summary.request_id,
        "decision_id": str(summary.place.decision_id),
        "decided_at": summary.place.decided_at.isoformat(),
        "dialect": summary.dialect,
        "stream": summary.stream,
        "requested_model": summary.requested_model,
        "model": summary.arm_id,
        "decision": summary.kind,
        "status": summary.status,
        "task": summary.task,
        "session_id": summary.session_id,
        "rule": summary.rule,
        "tags": dict(summary.tags),
        "latency_ms": _ms(summary.latency_s),
        "ttft_ms": _ms(summary.ttft_s),
        "prompt_tokens": summary.prompt_tokens,
        "completion_tokens": summary.completion_tokens,
        "cost_usd": summary.cost_usd,
        "reward": summary.reward,
        "signals": list(summary.signals),
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
