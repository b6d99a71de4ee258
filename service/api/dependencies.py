"""What endpoints take in: the parts, the caller's ids, the body within its limit."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Depends, Request

from service.domain.basics import DEFAULT_TENANT
from service.errors import BadRequest, BodyTooLarge, UnknownRequest
from service.parts import Parts

REQUEST_ID = re.compile(r"[!-~]{1,128}")
REQUEST_ID_RULE = "must be 1 to 128 visible ASCII characters"


# Dependencies are coroutines although they wait for nothing: FastAPI would run plain functions in threads.


async def parts_of(request: Request) -> Parts:
    """The parts of the running service."""
    return parts_at(request)


def parts_at(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


async def tenant_of(request: Request) -> str:
    """Whom the request belongs to: one tenant until there are keys."""
    return DEFAULT_TENANT


async def given_request_id(request: Request) -> str | None:
    """The caller's X-Request-ID.

    Raises:
        BadRequest: it breaks the rule for such ids.
    """
    given = request.headers.get("x-request-id")
    if given is None:
        return None
    given = given.strip(" \t")
    if not REQUEST_ID.fullmatch(given):
        shown = repr(given) if len(given) <= 40 else f"{len(given)} characters"
        raise BadRequest(f"X-Request-ID {REQUEST_ID_RULE}, got {shown}", param="X-Request-ID")
    request.state.request_id = given
    return given


async def required_request_id(given: Annotated[str | None, Depends(given_request_id)]) -> str:
    """The caller's X-Request-ID, which this path requires."""
    if given is None:
        raise BadRequest("X-Request-ID: header is required", param="X-Request-ID")
    return given


async def path_request_id(request_id: str) -> str:
    """The request id in the path.

    Raises:
        UnknownRequest: no request can have it.
    """
    if not REQUEST_ID.fullmatch(request_id):
        raise UnknownRequest(f"request ids {REQUEST_ID_RULE}", param="request_id")
    return request_id


async def body_of(request: Request) -> bytes:
    """The body, read up to the limit.

    Raises:
        BodyTooLarge: it is longer, or says that it will be.
    """
    limit = parts_at(request).settings.max_body_bytes
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise BodyTooLarge(f"body must have at most {limit} bytes, got {announced}")
    received = bytearray()
    async for piece in request.stream():
        received += piece
        if len(received) > limit:
            raise BodyTooLarge(f"body must have at most {limit} bytes, got more")
    return bytes(received)


PartsDep = Annotated[Parts, Depends(parts_of)]
TenantDep = Annotated[str, Depends(tenant_of)]
GivenRequestId = Annotated[str | None, Depends(given_request_id)]
PathRequestId = Annotated[str, Depends(path_request_id)]
RequiredRequestId = Annotated[str, Depends(required_request_id)]
BodyDep = Annotated[bytes, Depends(body_of)]
