"""What each route asks of its callers, in one table; a route that is not in it answers nobody.

The route that was found decides, never the text of the request's path.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from fastapi import Request
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from service.api import errors
from service.dialects.offered import DIALECTS
from service.domain.caller import Caller, Scope
from service.errors import RouterError

# any: everybody who may call at all. public: everybody, with or without a key.
Need: TypeAlias = Scope | Literal["any", "public"]

_ASKS: dict[str, Need] = {
    f"POST {route.path}": "inference" for dialect in DIALECTS for route in dialect.routes
}
_VERSIONS = ("", "/v1")
_GOOGLES = ("/v1", "/v1beta")

NEEDS: Mapping[str, Need] = {
    **_ASKS,
    **{f"POST {version}/responses": "inference" for version in _VERSIONS},
    **{f"POST {version}/responses/input_tokens": "inference" for version in _VERSIONS},
    **{f"GET {version}/responses/{{response_id}}": "inference" for version in _VERSIONS},
    **{f"DELETE {version}/responses/{{response_id}}": "inference" for version in _VERSIONS},
    **{f"GET {version}/responses/{{response_id}}/input_items": "inference" for version in _VERSIONS},
    "POST /v1/messages/count_tokens": "inference",
    "POST /v1/messages/chat-template": "inference",
    **{f"POST {version}/models/{{model_id:path}}:countTokens": "inference" for version in _GOOGLES},
    **{f"POST {version}/models/{{model_id:path}}:embedContent": "inference" for version in _GOOGLES},
    **{f"POST {version}/models/{{model_id:path}}:batchEmbedContents": "inference" for version in _GOOGLES},
    **{f"POST {version}/embeddings": "inference" for version in _VERSIONS},
    **{f"POST {version}/moderations": "inference" for version in _VERSIONS},
    **{f"GET {version}/models": "any" for version in ("", *_GOOGLES)},
    **{f"GET {version}/models/{{model_id:path}}": "any" for version in ("", *_GOOGLES)},
    "POST /v1/route": "inference",
    "POST /feedback": "feedback",
    "DELETE /feedback": "feedback",
    "DELETE /feedback/{request_id:path}": "feedback",
    "GET /requests": "read",
    "GET /requests/{request_id:path}": "read",
    "GET /metrics/{request_id:path}": "read",
    "GET /v1/stats": "read",
    "GET /metrics": "read",
    "GET /backends/status": "read",
    "GET /cache/stats": "read",
    "GET /docs": "read",
    "GET /docs/oauth2-redirect": "read",
    "GET /openapi.json": "read",
    "GET /static-offline-docs": "read",
    "POST /cache/clear": "admin",
    "GET /admin/models": "admin",
    "POST /admin/models": "admin",
    "PATCH /admin/models/{model_id:path}": "admin",
    "DELETE /admin/models/{model_id:path}": "admin",
    "GET /admin/keys": "admin",
    "POST /admin/keys": "admin",
    "POST /admin/keys/{key:path}/rotate": "admin",
    "DELETE /admin/keys/{key:path}": "admin",
    "GET /admin/calibrations": "admin",
    "POST /admin/calibrations": "admin",
    "GET /admin/calibrations/{calibration_id}": "admin",
    "POST /admin/calibrations/{calibration_id}": "admin",
    "DELETE /admin/calibrations/{calibration_id}": "admin",
    "GET /oauth/authorize": "admin",
    "POST /oauth/authorize": "admin",
    "GET /oauth/status": "admin",
    "POST /oauth/refresh": "admin",
    "POST /oauth/logout": "admin",
    "GET /oauth/callback": "public",  # a browser comes back from a provider; the login's `state` is its key
    "POST /mcp": "any",  # each tool is a request of its own, with the caller's key
    "GET /sse": "any",
    "POST /sse/messages/": "any",
    "GET /": "any",
    "GET /ready": "public",
    "GET /health": "public",  # without `read` it has only the status
    "GET /v1/health": "public",
}


def need_of(method: str, route: BaseRoute) -> Need | None:
    """What a route asks of its callers; None: it was forgotten."""
    path = getattr(route, "path", None)
    return NEEDS.get(f"{'GET' if method == 'HEAD' else method} {path}")


def authorise(state: Mapping[str, Any], need: Need, connection: Connection) -> None:
    """Let the caller of a request pass. Raises the reason against it."""
    caller: Caller = state["caller"]
    if need in caller.scopes or need == "public":
        return
    if (refusal := state.get("refusal")) is not None:
        raise refusal
    if need != "any":
        raise state["entrance"].callers.refusal(caller, need, connection["app"].state.parts.keyring)


async def authorised(request: Request) -> None:
    """Let the caller pass if it may use the route that was found."""
    route = request.scope["route"]
    need = need_of(request.method, route)
    if need is None:
        raise LookupError(f"{request.method} {route.path} declares no scope")
    authorise(request.scope["state"], need, request.scope)


def guard(route: BaseRoute) -> None:
    """Authorise requests for a route that knows no dependencies."""
    assert isinstance(route, Route | Mount)
    need, app = need_of("GET", route), route.app
    if need is None:
        raise LookupError(f"{route.path} declares no scope")
    route.app = _Guarded(app, need)


class _Guarded:
    def __init__(self, app: ASGIApp, need: Need) -> None:
        self._app = app
        self._need = need

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        app = self._app
        try:
            authorise(scope["state"], self._need, scope)
        except RouterError as error:
            app = errors.response(Request(scope), error)
        await app(scope, receive, send)
