"""POST /v1/responses, and what becomes of a stored response: GET, DELETE and its input items."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service.api import big_bodies
from service.api.dependencies import (
    BodyDep,
    PartsDep,
    TenantDep,
    caller_at,
    parts_at,
    read_body,
    read_request_id,
    received_with,
    require_json,
)
from service.api.errors import log_refusal, loggable, problem
from service.api.generation import documented
from service.api.hot_routes import Endpoint
from service.api.json_response import JsonAnswer
from service.api.openapi import body_schema, failures
from service.api.respond import respond
from service.api.sse_response import EventStream
from service.api.token_counts import counted
from service.conversations.stored_responses import StoredResponses
from service.dialects import sse
from service.dialects.dialect import UNDECIDED, EventWriter
from service.dialects.responses.dialect import RESPONSES
from service.dialects.responses.events import ResponseEvents
from service.dialects.responses.input_items import MAX_PAGE, page, with_ids
from service.dialects.responses.requests import ReadRequest, input_of, query_of, read_request
from service.domain import query as domain
from service.domain.basics import Json
from service.domain.stored_response import StoredResponse
from service.errors import (
    BadRequest,
    BodyTooLarge,
    NotJson,
    RouterError,
    Unavailable,
    UnknownModel,
    UnknownPreviousResponse,
    UnknownResponse,
)
from service.parts import Parts

endpoints = APIRouter(tags=[RESPONSES.tag])
PATHS = ("/v1/responses", "/responses")
OVERFLOW = "context_length_exceeded"
STORED_FAILURES = failures(BadRequest, UnknownResponse, Unavailable)


async def create(request: Request) -> Response:
    """Route a Responses request to a model and answer as OpenAI does."""
    require_json(request)
    request_id, tenant = read_request_id(request), caller_at(request).tenant
    parts = parts_at(request)
    body = await read_body(request, parts)
    received = received_with(request, parts, request_id_given=request_id is not None)
    read = await big_bodies.read(parts, body, read_request)
    read = read.continuing(*await _earlier(parts, tenant, read))
    stores = parts.responses.is_on and read.wants_storage
    query = await big_bodies.read(parts, body, lambda _: query_of(read, received, stores=stores))
    try:
        return await respond(request, parts, query, RESPONSES, KeptResponse(parts.responses, read))
    except RouterError as error:
        if not query.stream or problem(error)[1]["error"]["code"] != OVERFLOW:
            raise
        return _failed_stream(request, query, error)


def _failed_stream(request: Request, query: domain.Query, error: RouterError) -> Response:
    """A stream that only fails, as OpenAI streams a prompt that is too long: Codex then shortens it."""

    async def events() -> AsyncGenerator[bytes, None]:
        writer = RESPONSES.event_writer(query, UNDECIDED)
        yield writer.failure(problem(error), request.state.request_id)

    log_refusal(request, 200, loggable(error))
    return EventStream(events(), headers=sse.HEADERS)


async def _earlier(parts: Parts, tenant: str, read: ReadRequest) -> tuple[list[Json], dict[str, Json]]:
    """The items of the responses that the request continues, and those that it refers to."""
    previous, items = read.previous_id, read.references
    earlier = [] if previous is None else await parts.responses.conversation(tenant, previous)
    return earlier, dict(await parts.responses.items(tenant, items)) if items else {}


async def input_tokens(parts: PartsDep, tenant: TenantDep, body: BodyDep) -> Response:
    """Count or estimate the tokens of a Responses request, without a model call or learning."""
    read = await big_bodies.read(parts, body, read_request)
    read = read.continuing(*await _earlier(parts, tenant, read))
    chat, n_estimated = await big_bodies.read(parts, body, lambda _: input_of(read))
    n_tokens, headers = await counted(parts, read.request.model, chat, n_estimated)
    return JsonAnswer({"object": "response.input_tokens", "input_tokens": n_tokens}, headers=headers)


async def retrieve(parts: PartsDep, tenant: TenantDep, response_id: str, stream: bool = False) -> Response:
    """Read a stored response again."""
    if stream:
        raise BadRequest("stream: a stored response is whole; leave it out", param="stream")
    return JsonAnswer((await parts.responses.find(tenant, response_id)).response)


async def delete(parts: PartsDep, tenant: TenantDep, response_id: str) -> Response:
    """Delete a stored response."""
    await parts.responses.delete(tenant, response_id)
    return JsonAnswer({"id": response_id, "object": "response", "deleted": True})


async def input_items(
    parts: PartsDep,
    tenant: TenantDep,
    response_id: str,
    order: Literal["asc", "desc"] = "desc",
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 20,
    after: str | None = None,
) -> Response:
    """List the items of a stored response's request."""
    stored = await parts.responses.find(tenant, response_id)
    previous = stored.previous_id
    earlier = [] if previous is None else await parts.responses.conversation(tenant, previous)
    return JsonAnswer(page([*earlier, *stored.input], order=order, limit=limit, after=after))


@dataclass(frozen=True, slots=True)
class KeptResponse:
    """Stores a response before its last part is sent."""

    responses: StoredResponses
    read: ReadRequest

    async def whole(self, query: domain.Query, body: Json | list[Json]) -> Json:
        assert isinstance(body, dict)
        return body if await self._is_kept(query, body) else {**body, "store": False}

    async def streamed(self, query: domain.Query, writer: EventWriter) -> bytes:
        assert isinstance(writer, ResponseEvents)
        response = writer.ended()
        return writer.end(stored=await self._is_kept(query, response))

    async def _is_kept(self, query: domain.Query, response: Json) -> bool:
        if not self.read.wants_storage:
            return False
        stem = response["id"].partition("_")[2]
        return await self.responses.keep(
            StoredResponse(
                tenant=query.tenant,
                response_id=response["id"],
                previous_id=self.read.previous_id,
                input=tuple(with_ids(self.read.items, stem)),
                response=response,
                created_at=query.received_at,
            )
        )


def _add_endpoints() -> None:
    for path in PATHS:
        name = path.strip("/").replace("/", "_")
        add = partial(endpoints.add_api_route, name=name)
        body = body_schema(RESPONSES.request_model.__name__)
        answers = documented(RESPONSES, UnknownPreviousResponse, Unavailable)
        add(path, create, methods=["POST"], responses=answers, openapi_extra=body)
        counts = failures(
            BadRequest, UnknownPreviousResponse, UnknownModel, BodyTooLarge, NotJson, Unavailable
        )
        add(f"{path}/input_tokens", input_tokens, methods=["POST"], responses=counts, openapi_extra=body)
        add(f"{path}/{{response_id}}", retrieve, methods=["GET"], responses=STORED_FAILURES)
        add(f"{path}/{{response_id}}", delete, methods=["DELETE"], responses=STORED_FAILURES)
        add(f"{path}/{{response_id}}/input_items", input_items, methods=["GET"], responses=STORED_FAILURES)


HOT: dict[str, Endpoint] = dict.fromkeys(PATHS, create)
_add_endpoints()
