"""The endpoints of every dialect that generate an answer."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.api import big_bodies
from service.api.dependencies import (
    parts_at,
    read_body,
    read_request_id,
    received_with,
    require_json,
    required_request_id,
)
from service.api.hot_routes import Endpoint
from service.api.openapi import NO_ANSWER, Responses, body_schema, dialect_failures, path_parameters
from service.api.respond import respond
from service.dialects.dialect import Dialect, Route
from service.dialects.offered import DIALECTS
from service.errors import (
    BadRequest,
    BodyTooLarge,
    NotJson,
    ProviderRejected,
    RequestConflict,
    RouterError,
    UnknownModel,
)

FAILURES = (BadRequest, UnknownModel, RequestConflict, BodyTooLarge, NotJson, ProviderRejected, *NO_ANSWER)


async def generate(request: Request, dialect: Dialect, route: Route) -> Response:
    """Answer a request that asks for an answer of a model, in the dialect that it is written in."""
    require_json(request)
    request_id = required_request_id(request) if route.needs_request_id else read_request_id(request)
    parts = parts_at(request)
    body = await read_body(request, parts)
    received = received_with(request, parts, request_id_given=request_id is not None, names=route.names)
    query = await big_bodies.read(parts, body, partial(dialect.read_query, received=received))
    return await respond(request, parts, query, dialect)


def _endpoint(dialect: Dialect, route: Route) -> Endpoint:
    """The endpoint of a route, in the form that the framework reads."""

    async def endpoint(request: Request) -> Response:
        return await generate(request, dialect, route)

    return endpoint


def documented(dialect: Dialect, *more: type[RouterError]) -> Responses:
    """The answers of a path that generates one."""
    content: dict[str, Any] = {"content": {"application/json": {}, "text/event-stream": {}}}
    return {200: content, **dialect_failures(dialect, *FAILURES, *more)}


def _endpoints() -> APIRouter:
    router = APIRouter()
    for dialect in DIALECTS:
        for route in dialect.routes:
            if "{" not in route.path:
                HOT[route.path] = partial(generate, dialect=dialect, route=route)
            router.add_api_route(
                route.path,
                _endpoint(dialect, route),
                methods=["POST"],
                include_in_schema=route.is_documented,
                tags=[dialect.tag],
                name=route.path.strip("/").replace("/", "_"),
                description=route.summary,
                responses=documented(dialect),
                openapi_extra=body_schema(dialect.request_model.__name__) | path_parameters(route.path),
            )
    return router


HOT: dict[str, Endpoint] = {}  # by path
endpoints = _endpoints()
