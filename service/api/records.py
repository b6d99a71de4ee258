"""GET /requests/{request_id}, GET /metrics/{request_id}, POST /v1/route."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.api import big_bodies
from service.api.dependencies import (
    BodyDep,
    GivenRequestId,
    PartsDep,
    PathRequestId,
    TenantDep,
    received_with,
)
from service.api.json_response import JsonAnswer
from service.api.openapi import NO_ANSWER, body_schema, failures
from service.dialects.chat.dialect import CHAT
from service.domain.basics import Json
from service.domain.explanation import explanation_for_clients
from service.errors import BadRequest, BodyTooLarge, NotJson, Unavailable, UnknownModel, UnknownRequest
from service.parts import Parts

endpoints = APIRouter(tags=["inspect"])
LOOKUP_FAILURES = failures(UnknownRequest, Unavailable)


@endpoints.get("/requests/{request_id:path}", responses=LOOKUP_FAILURES)
async def request_record(parts: PartsDep, tenant: TenantDep, request_id: PathRequestId) -> Response:
    """Everything about one request: decision, alternatives, attempts, outcome and feedback."""
    return JsonAnswer(await _record(parts, tenant, request_id))


@endpoints.get("/metrics/{request_id:path}", responses=LOOKUP_FAILURES)
async def request_metrics(parts: PartsDep, tenant: TenantDep, request_id: PathRequestId) -> Response:
    """The numbers of one request."""
    record = await _record(parts, tenant, request_id)
    return JsonAnswer(numbers(record))


@endpoints.post(
    "/v1/route",
    openapi_extra=body_schema("ChatCompletionRequest"),
    responses=failures(BadRequest, UnknownModel, BodyTooLarge, NotJson, *NO_ANSWER),
)
async def route(request: Request, parts: PartsDep, request_id: GivenRequestId, body: BodyDep) -> Response:
    """Decide only: choose a model for a Chat Completions body, without a call, a log entry or learning."""
    received = received_with(request, parts, request_id_given=False)
    query = await big_bodies.read(parts, body, partial(CHAT.read_query, received=received))
    query = await parts.tokens.counted(parts.catalog.resolved(query), parts.catalog.arms)
    decision = await parts.router.preview(query)
    return JsonAnswer(
        {
            "request_id": query.request_id,
            "model": decision.arm_id,
            "decision": decision.kind,
            "propensity": decision.propensity,
            "holdout": decision.holdout,
            "degraded": list(decision.degraded),
            **explanation_for_clients(decision),
        }
    )


async def _record(parts: Parts, tenant: str, request_id: str) -> Json:
    record: Json | None = await parts.journal.record(tenant, request_id)
    if record is None and (named := await parts.journal.request_named_by(tenant, request_id)) is not None:
        record = await parts.journal.record(tenant, named)
    if record is None:
        raise parts.unknown(UnknownRequest(f"request {request_id!r} does not exist", param="request_id"))
    return record


def numbers(record: Json) -> Json:
    """The numbers in a request's record; null where they are not known.

    Latency and tokens are those of the newest outcome; the cost is that of all calls, retries included.
    """
    outcome = record["outcome"] or {}
    usage = outcome.get("usage") or {}
    return {
        "request_id": record["request_id"],
        "model": record["model"],
        "decision": record["decision"],
        "status": outcome.get("status"),
        "latency_ms": _ms(outcome.get("latency_s")),
        "ttft_ms": _ms(outcome.get("ttft_s")),
        "overhead_ms": _ms(outcome.get("overhead_s")),
        "prompt_tokens": usage.get("prompt_tokens"),
        "cached_tokens": usage.get("cached_tokens"),
        "cache_write_tokens": usage.get("cache_write_tokens"),
        "completion_tokens": usage.get("completion_tokens"),
        "reasoning_tokens": usage.get("reasoning_tokens"),
        "cost_usd": _total_usd([*record["attempts"], *record["tags"]]) if outcome else None,
        "reward": record["reward"],
    }


def _total_usd(paid: Sequence[Json]) -> float | None:
    """Dollars of all calls and tags; None: nobody knows those of one."""
    costs = [one["cost_usd"] for one in paid]
    return None if None in costs else sum(costs)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
