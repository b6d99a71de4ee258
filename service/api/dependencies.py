"""The dependencies of the endpoints: the parts, the request's ids, the body within its limit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.requests import ClientDisconnect

from service.api.client_keys import client_key
from service.api.request_headers import RequestHeaders, headers_of
from service.dialects.received import Received
from service.domain.caller import Caller
from service.errors import BadRequest, BodyTooLarge, NotJson, UnknownRequest
from service.parts import Parts

REQUEST_ID = re.compile(r"[!-~]{1,128}")
WRITES = frozenset({"POST", "PUT", "PATCH"})
JSON_TYPE = re.compile(r"application/([a-z0-9._-]+\+)?json")
REQUEST_ID_RULE = "must be 1 to 128 visible ASCII characters"


# Dependencies are coroutines although they wait for nothing, because FastAPI runs plain functions in threads.


async def parts_of(request: Request) -> Parts:
    """The parts of the running service."""
    return parts_at(request)


def parts_at(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


def caller_at(request: Request) -> Caller:
    """Who sends the request."""
    caller: Caller = request.scope["state"]["caller"]
    return caller


async def caller_of(request: Request) -> Caller:
    """Who sends the request."""
    return caller_at(request)


async def tenant_of(request: Request) -> str:
    """The tenant whose data the request sees."""
    return caller_at(request).tenant


async def given_request_id(request: Request) -> str | None:
    """The client's X-Request-ID; None: it sent none.

    Raises:
        BadRequest: the id breaks the rule for request ids.
    """
    return read_request_id(request)


def read_request_id(request: Request) -> str | None:
    header = headers_of(request).get("x-request-id")
    if header is None:
        return None
    request_id = header.strip(" \t")
    if not REQUEST_ID.fullmatch(request_id):
        got = repr(request_id) if len(request_id) <= 40 else f"{len(request_id)} characters"
        raise BadRequest(f"X-Request-ID {REQUEST_ID_RULE}, got {got}", param="X-Request-ID")
    request.state.request_id = request_id
    return request_id


def required_request_id(request: Request) -> str:
    """The client's X-Request-ID, which this path requires."""
    if (request_id := read_request_id(request)) is None:
        raise BadRequest("X-Request-ID: header is required", param="X-Request-ID")
    return request_id


async def path_request_id(request_id: str) -> str:
    """The request id in the path.

    Raises:
        UnknownRequest: the id breaks the rule, so no request has it.
    """
    if not REQUEST_ID.fullmatch(request_id):
        raise UnknownRequest(f"request ids {REQUEST_ID_RULE}", param="request_id")
    return request_id


async def json_only(request: Request) -> None:
    """Require that a body is declared as JSON: a browser sends any other type without asking first.

    Raises:
        NotJson: the `Content-Type` of the body is missing, repeated or another one.
    """
    require_json(request)


def require_json(request: Request) -> None:
    headers = headers_of(request)
    given = headers.getlist("content-type")
    if given == ["application/json"] or request.method not in WRITES or not _has_body(headers):
        return
    if len(given) != 1 or not JSON_TYPE.fullmatch(given[0].partition(";")[0].strip().lower()):
        got = repr(", ".join(given)[:100]) if given else "no such header"
        raise NotJson(f"Content-Type: must be application/json, got {got}", param="Content-Type")


def _has_body(headers: Mapping[str, str]) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


async def body_of(request: Request) -> bytes:
    """The body, read up to the limit.

    Raises:
        BodyTooLarge: the body, or its Content-Length, exceeds the limit.
    """
    return await read_body(request, parts_at(request))


async def read_body(request: Request, parts: Parts) -> bytes:
    limit = parts.settings.max_body_bytes
    announced = headers_of(request).get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise BodyTooLarge(f"body must have at most {limit} bytes, got {announced}")
    read: list[bytes] = []
    left = limit
    is_over = False
    while not is_over:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part = message.get("body", b"")
        if (left := left - len(part)) < 0:
            raise BodyTooLarge(f"body must have at most {limit} bytes, got more")
        read.append(part)
        is_over = not message.get("more_body", False)
    return read[0] if len(read) == 1 else b"".join(read)


def received_with(
    request: Request,
    parts: Parts,
    *,
    request_id_given: bool,
    names: Mapping[str, str] = MappingProxyType({}),
) -> Received:
    """What the client sent beside its body, and the `names` that its route stands for."""
    scope = request.scope
    state: dict[str, Any] = scope["state"]
    headers: RequestHeaders = state["headers"]
    caller: Caller = state["caller"]
    read_by_rules = parts.router.policies.headers
    takes_key = parts.catalog.takes_client_keys
    return Received(
        headers=headers,
        tenant=caller.tenant,
        caller=caller,
        request_id=state["request_id"],
        request_id_given=request_id_given,
        received_at=state["received_at"],
        path={**names, **request.path_params},
        params=request.query_params if scope["query_string"] else {},
        rule_headers={name: value for name in read_by_rules if (value := headers.get(name)) is not None},
        credential=client_key(headers, parts.settings) if takes_key else None,
        on_new_id=partial(_rename, state),
    )


def _rename(state: dict[str, Any], request_id: str) -> None:
    """Give the response, be it an answer or an error, the id of the decision, by which feedback names it."""
    state["reused_request_id"] = state["request_id"]
    state["request_id"] = request_id


PartsDep = Annotated[Parts, Depends(parts_of)]
CallerDep = Annotated[Caller, Depends(caller_of)]
TenantDep = Annotated[str, Depends(tenant_of)]
GivenRequestId = Annotated[str | None, Depends(given_request_id)]
PathRequestId = Annotated[str, Depends(path_request_id)]
BodyDep = Annotated[bytes, Depends(body_of)]
