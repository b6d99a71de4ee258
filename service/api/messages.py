"""POST /v1/messages, /v1/messages/count_tokens and /v1/messages/chat-template."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from functools import partial

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.api import big_bodies, errors
from service.api.dependencies import BodyDep, GivenRequestId, PartsDep, TenantDep
from service.api.json_response import JsonAnswer
from service.api.openapi import NO_ANSWER, Responses, anthropic_failures, body_schema
from service.api.respond import Writer, respond
from service.completion.completion import Completed, Streaming
from service.dialects import anthropic, anthropic_answers, anthropic_events
from service.dialects.anthropic_blocks import NO_EXTRAS, AnswerForm
from service.dialects.chat_template import rendered
from service.domain.arm import Arm
from service.domain.basics import AUTO, Json
from service.domain.query import Query
from service.domain.tokens import shared_tokenizer
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

endpoints = APIRouter(tags=["messages"])
ANSWERS: Responses = {
    200: {"content": {"application/json": {}, "text/event-stream": {}}},
    **anthropic_failures(
        BadRequest, UnknownModel, RequestConflict, BodyTooLarge, NotJson, ProviderRejected, *NO_ANSWER
    ),
}
INPUT_FAILURES = anthropic_failures(BadRequest, UnknownModel, BodyTooLarge, NotJson)


@endpoints.post("/v1/messages", openapi_extra=body_schema("MessagesRequest"), responses=ANSWERS)
async def messages(
    request: Request, parts: PartsDep, tenant: TenantDep, request_id: GivenRequestId, body: BodyDep
) -> Response:
    """Route a Messages request to a model and answer as Anthropic does."""
    read_query = partial(
        anthropic.read_query,
        headers=request.headers,
        tenant=tenant,
        request_id=request.state.request_id,
        request_id_given=request_id is not None,
        received_at=request.state.received_at,
    )
    query = await big_bodies.read(parts, body, read_query)
    writer = Writer(
        partial(_message, query=query),
        partial(_events, request=request, query=query),
        partial(_failure, request=request),
        anthropic_events.PING,
    )
    return await respond(request, parts, query, writer)


@endpoints.post(
    "/v1/messages/count_tokens", openapi_extra=body_schema("CountTokensRequest"), responses=INPUT_FAILURES
)
async def count_tokens(parts: PartsDep, body: BodyDep) -> Response:
    """Count or estimate the tokens of a Messages request, without a model call, a reservation or learning."""
    read = await big_bodies.read(parts, body, anthropic.read_input)
    arm = _named_arm(parts, read.model)
    tokenizer = shared_tokenizer(parts.catalog.arms if arm is None else [arm])
    n_tokens = None if tokenizer is None else await parts.tokens.count(read.translated, tokenizer)
    if tokenizer is None or n_tokens is None:
        n_tokens, tokenizer = read.n_prompt_tokens, "estimate"
    return JsonAnswer({"input_tokens": n_tokens}, headers={"X-Router-Token-Count": tokenizer})


@endpoints.post(
    "/v1/messages/chat-template", openapi_extra=body_schema("CountTokensRequest"), responses=INPUT_FAILURES
)
async def chat_template(parts: PartsDep, body: BodyDep) -> Response:
    """Write a Messages request as the one prompt that a model reads."""
    read = await big_bodies.read(parts, body, anthropic.read_input)
    arm = _named_arm(parts, read.model)
    source = None if arm is None else arm.chat_template
    chat = read.translated
    prompt = await asyncio.to_thread(rendered, chat["messages"], chat.get("tools"), source)
    template = "chatml" if arm is None or source is None else arm.arm_id
    return JsonAnswer({"prompt": prompt, "template": template})


def _named_arm(parts: Parts, name: str | None) -> Arm | None:
    """The arm that the request names; None: the router chooses. Raises UnknownModel."""
    return None if name is None or name in AUTO else parts.catalog.find(name)


def _form(query: Query) -> AnswerForm:
    return NO_EXTRAS if query.native is None else AnswerForm.requested_by(query.native.body)


def _message(completed: Completed, query: Query) -> Json:
    message = completed.native or anthropic_answers.message(completed.body, _form(query))
    return anthropic_answers.explained(message, completed.head.explanation)


async def _events(streaming: Streaming, request: Request, query: Query) -> AsyncGenerator[bytes, None]:
    """The events of one message: as the model sent them, or written from an OpenAI stream."""
    explanation = streaming.head.explanation
    writer = anthropic_events.MessageEvents(query.n_prompt_tokens, explanation, _form(query))
    is_native = False
    try:
        async for chunk in streaming.chunks:
            if chunk.native is not None:
                is_native = True
                yield anthropic_events.explained_event(chunk.native, explanation)
            elif written := writer.take(chunk):
                yield written
        if not is_native:
            yield writer.end()
    except ProviderError as error:
        yield _failure(error, request)
    finally:
        await streaming.chunks.aclose()


def _failure(error: RouterError, request: Request) -> bytes:
    return anthropic_events.error_event(errors.problem(error), request.state.request_id)
