"""POST /chat/completions and /v1/chat/completions."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import partial

import structlog
from fastapi import APIRouter, Request
from starlette.responses import Response

from service.api import big_bodies, errors
from service.api.dependencies import (
    BodyDep,
    GivenRequestId,
    PartsDep,
    RequiredRequestId,
    TenantDep,
)
from service.api.openapi import NO_ANSWER, Responses, body_schema, failures
from service.api.respond import Writer, respond
from service.completion.completion import Completed, Head, Streaming
from service.dialects import openai, sse
from service.domain.answer import Chunk
from service.domain.basics import Json
from service.domain.query import Query
from service.errors import (
    BadRequest,
    BodyTooLarge,
    NotJson,
    ProviderError,
    ProviderRejected,
    RequestConflict,
    RouterError,
    UnknownModel,
)
from service.parts import Parts

log = structlog.get_logger(__name__)
endpoints = APIRouter(tags=["chat"])
BODY = body_schema("ChatCompletionRequest")
ANSWERS: Responses = {
    200: {"content": {"application/json": {}, "text/event-stream": {}}},
    **failures(
        BadRequest, UnknownModel, RequestConflict, BodyTooLarge, NotJson, ProviderRejected, *NO_ANSWER
    ),
}


@endpoints.post("/chat/completions", openapi_extra=BODY, responses=ANSWERS)
async def chat_completions(
    request: Request, parts: PartsDep, tenant: TenantDep, request_id: RequiredRequestId, body: BodyDep
) -> Response:
    """Route a Chat Completions request to a model and answer as OpenAI does. `X-Request-ID` is required."""
    return await _answer(request, parts, tenant, request_id, body)


@endpoints.post("/v1/chat/completions", openapi_extra=BODY, responses=ANSWERS)
async def v1_chat_completions(
    request: Request, parts: PartsDep, tenant: TenantDep, request_id: GivenRequestId, body: BodyDep
) -> Response:
    """Route a Chat Completions request to a model and answer as OpenAI does."""
    return await _answer(request, parts, tenant, request_id, body)


async def _answer(
    request: Request, parts: Parts, tenant: str, request_id: str | None, body: bytes
) -> Response:
    read_query = partial(
        openai.read_query,
        headers=request.headers,
        tenant=tenant,
        request_id=request.state.request_id,
        request_id_given=request_id is not None,
        received_at=request.state.received_at,
    )
    query = await big_bodies.read(parts, body, read_query)
    return await respond(request, parts, query, Writer(_completion, partial(_events, query=query), _failure))


def _completion(completed: Completed) -> Json:
    return _with_explanation(completed.body, completed.head)


async def _events(streaming: Streaming, query: Query) -> AsyncGenerator[bytes, None]:
    include_usage = bool((query.body.get("stream_options") or {}).get("include_usage"))
    head: Head | None = streaming.head
    try:
        async for chunk in streaming.chunks:
            body = _as_requested(chunk, include_usage)
            if body is not None:
                yield sse.event(_with_explanation(body, head))
                head = None
    except ProviderError as error:
        yield _failure(error)
        return
    finally:
        await streaming.chunks.aclose()
    yield sse.DONE


def _failure(error: RouterError) -> bytes:
    return sse.event(errors.problem(error)[1])


def _as_requested(chunk: Chunk, include_usage: bool) -> Json | None:
    """The chunk without its usage, unless the client requested it; the router always requests it."""
    if include_usage:
        return {"usage": None, **chunk.body}
    if chunk.usage is not None and not chunk.body.get("choices"):
        return None
    return {name: value for name, value in chunk.body.items() if name != "usage"}


def _with_explanation(body: Json, head: Head | None) -> Json:
    if head is None or head.explanation is None:
        return body
    return {**body, "router": head.explanation}
