"""The endpoints of every dialect that generate an answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.api import big_bodies
from service.api.dependencies import (
    BodyDep,
    GivenRequestId,
    PartsDep,
    RequiredRequestId,
    TenantDep,
    received_with,
)
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
from service.parts import Parts

FAILURES = (BadRequest, UnknownModel, RequestConflict, BodyTooLarge, NotJson, ProviderRejected, *NO_ANSWER)


async def generate(
    request: Request,
    parts: Parts,
    tenant: str,
    request_id: str | None,
    body: bytes,
    dialect: Dialect,
    names: Mapping[str, str],
) -> Response:
    """Answer a request that asks for an answer of a model, in the dialect that it is written in."""
    received = received_with(request, tenant, request_id_given=request_id is not None, names=names)
    query = await big_bodies.read(parts, body, partial(dialect.read_query, received=received))
    return await respond(request, parts, query, dialect)


def _endpoint(dialect: Dialect, route: Route) -> Callable[..., Awaitable[Response]]:
    async def with_given_id(
        request: Request, parts: PartsDep, tenant: TenantDep, request_id: GivenRequestId, body: BodyDep
    ) -> Response:
        return await generate(request, parts, tenant, request_id, body, dialect, route.names)

    async def with_required_id(
        request: Request, parts: PartsDep, tenant: TenantDep, request_id: RequiredRequestId, body: BodyDep
    ) -> Response:
        return await generate(request, parts, tenant, request_id, body, dialect, route.names)

    return with_required_id if route.needs_request_id else with_given_id


def documented(dialect: Dialect, *more: type[RouterError]) -> Responses:
    """The answers of a path that generates one."""
    content: dict[str, Any] = {"content": {"application/json": {}, "text/event-stream": {}}}
    return {200: content, **dialect_failures(dialect, *FAILURES, *more)}


def _endpoints() -> APIRouter:
    router = APIRouter()
    for dialect in DIALECTS:
        for route in dialect.routes:
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


endpoints = _endpoints()
