"""Maps each error class to its status and code, in the client's dialect."""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Scope

from service import errors
from service.api.json_response import JsonAnswer
from service.api.rate_headers import rate_headers
from service.dialects.gemini.dialect import GEMINI
from service.dialects.offered import absence, dialect_of
from service.domain import context_overflow
from service.domain.api_key import masked
from service.domain.basics import Json
from service.domain.context_overflow import ContextOverflow
from service.domain.quoted_input import unquoted

log = structlog.get_logger(__name__)

DEFAULT_WAIT_S = 1.0  # before a retry, if nothing says how long
NO_RETRY = {"X-Should-Retry": "false"}  # official clients try again after every other 5xx and 429
CLIENT_CLOSED_REQUEST = 499  # the status nginx uses; only middleware sees it

# error class -> status, `type`, `code`; a subclass that is not listed uses the entry of its parent
PROBLEMS: dict[type[errors.RouterError], tuple[int, str, str | None]] = {
    errors.BadRequest: (400, "invalid_request_error", None),
    errors.UnknownModel: (404, "invalid_request_error", "model_not_found"),
    errors.ContextTooLong: (400, "invalid_request_error", "context_length_exceeded"),
    errors.NoEligibleArm: (400, "invalid_request_error", "no_eligible_model"),
    errors.BodyTooLarge: (413, "invalid_request_error", "request_too_large"),
    errors.HeadersTooLarge: (431, "invalid_request_error", "headers_too_large"),
    errors.SlowRequest: (408, "invalid_request_error", "request_timeout"),
    errors.NotJson: (415, "invalid_request_error", "unsupported_media_type"),
    errors.RequestConflict: (409, "invalid_request_error", "request_id_conflict"),
    errors.ModelConflict: (409, "invalid_request_error", "model_conflict"),
    errors.CalibrationConflict: (409, "invalid_request_error", "calibration_conflict"),
    errors.KeyRequired: (401, "invalid_request_error", "invalid_api_key"),
    errors.ScopeMissing: (403, "permission_error", "scope_missing"),
    errors.KeyConflict: (409, "invalid_request_error", "key_conflict"),
    errors.UnknownKey: (404, "invalid_request_error", "key_not_found"),
    errors.AdminClosed: (403, "invalid_request_error", "admin_closed"),
    errors.ForbiddenHost: (421, "invalid_request_error", "host_not_allowed"),
    errors.ForbiddenOrigin: (403, "invalid_request_error", "origin_not_allowed"),
    errors.LoginRefused: (400, "invalid_request_error", "login_refused"),
    errors.NotConfigured: (501, "invalid_request_error", "endpoint_not_configured"),
    errors.UnknownRequest: (404, "invalid_request_error", "request_not_found"),
    errors.UnknownCalibration: (404, "invalid_request_error", "calibration_not_found"),
    errors.UnknownResponse: (404, "invalid_request_error", "response_not_found"),
    errors.UnknownPreviousResponse: (400, "invalid_request_error", "previous_response_not_found"),
    errors.Unavailable: (503, "server_error", "unavailable"),
    errors.StoreBusy: (503, "server_error", "overloaded"),
    errors.Overloaded: (503, "server_error", "overloaded"),
    errors.LimitReached: (429, "requests", "rate_limit_exceeded"),
    errors.BudgetSpent: (429, "insufficient_quota", "insufficient_quota"),
    errors.ProviderRejected: (400, "invalid_request_error", None),
    errors.CallersKeyRefused: (401, "invalid_request_error", "invalid_api_key"),
    errors.LocalFault: (503, "server_error", "overloaded"),
    errors.ProviderError: (502, "server_error", "upstream_error"),
    errors.AllArmsFailed: (503, "server_error", "no_model_answered"),
    errors.AllArmsLimited: (429, "requests", "rate_limit_exceeded"),
    errors.AllArmsUnpaid: (429, "insufficient_quota", "insufficient_quota"),
}


def problem(error: errors.RouterError) -> tuple[int, Json]:
    """Status and OpenAI error envelope of an error."""
    status, kind, code = next(PROBLEMS[c] for c in type(error).__mro__ if c in PROBLEMS)
    if isinstance(error, errors.ProviderRejected):
        status, code = 413 if error.status == 413 else status, error.code
    if isinstance(error, errors.CallersKeyRefused) and error.status == 403:
        status, code = 403, "permission_denied"
    message = str(error)
    if isinstance(error, errors.ProviderRejected) and code == context_overflow.CODE:
        status, message = 400, ContextOverflow.read(message).in_openais_words
    return status, envelope(message, kind, getattr(error, "param", None), code)


def envelope(message: str, kind: str, param: str | None, code: str | None) -> Json:
    return {"error": {"message": masked(message), "type": kind, "param": param, "code": code}}


def install(app: FastAPI) -> None:
    """Register the handlers that answer every error in the envelope."""
    app.add_exception_handler(errors.RouterError, _router_error)
    app.add_exception_handler(RequestValidationError, _invalid_parameter)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ClientDisconnect, _client_disconnected)
    app.add_exception_handler(Exception, _unhandled_error)


async def _router_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.RouterError)
    return response(request, error)


def response(request: Request, error: errors.RouterError) -> Response:
    """The error response in the client's dialect, and a line in the log."""
    log_refusal(request, problem(error)[0], loggable(error))
    return refusal(request, error)


def refusal(request: Request, error: errors.RouterError) -> Response:
    """The error response in the client's dialect."""
    status, body = problem(error)
    # The time of the next payment is unknown.
    can_retry = status in {429, 503} and not isinstance(error, errors.AllArmsUnpaid)
    wait_s = getattr(error, "retry_after_s", None)
    if not can_retry:
        return _in_dialect(request, status, body, NO_RETRY if status == 501 else {})
    wait_s = DEFAULT_WAIT_S if wait_s is None else wait_s
    headers = retry_after(wait_s)
    if isinstance(error, errors.LimitReached):
        headers |= rate_headers(error.rates, dialect_of(request.scope["path"], request.headers))
    if isinstance(error, errors.BudgetSpent):
        headers |= NO_RETRY
    return _in_dialect(request, status, body, headers, wait_s)


def loggable(error: errors.RouterError) -> str:
    """What the log has of an error: no text of the request, and nothing of what a provider says about it."""
    if isinstance(error, errors.ProviderRejected):
        return f"{type(error).__name__}: {error.code or error.status}"
    if isinstance(error, errors.AllArmsFailed):  # a line of each call says why
        return type(error).__name__
    return masked(unquoted(str(error)))


def log_refusal(request: Request, status: int, reason: str) -> None:
    """Leave a line about a request that gets an error."""
    request_id = getattr(request.state, "request_id", None)
    path = masked(f"{request.method} {request.scope['path']}")
    log.info("refused", path=path, status=status, reason=reason, request_id=request_id)


def _in_dialect(
    request: Request, status: int, body: Json, headers: Mapping[str, str], wait_s: float | None = None
) -> Response:
    """The error in the client's dialect.

    The path is that of the scope: that of `request.url` contains what the client sent as Host.
    """
    request_id = getattr(request.state, "request_id", None)
    dialect = dialect_of(request.scope["path"], request.headers)
    status, body = dialect.error((status, body), request_id, wait_s)
    return JsonAnswer(body, status, headers=headers)


def retry_after(wait_s: float) -> dict[str, str]:
    """The headers that give the wait before a retry, in whole seconds and in milliseconds."""
    return {"Retry-After": str(max(1, math.ceil(wait_s))), "Retry-After-Ms": str(math.ceil(wait_s * 1000))}


async def _invalid_parameter(request: Request, error: Exception) -> Response:
    """Answer a path or query parameter that FastAPI rejects."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    param = str(first["loc"][-1])
    return response(request, errors.BadRequest(f"{param}: {first['msg']}", param=param))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path, phrase = request.scope["path"], HTTPStatus(error.status_code).phrase.lower()
    reason, code = phrase, phrase.replace(" ", "_")
    # Google's paths end with a method of its own, so that a wrong one is a path that does not exist.
    is_googles = dialect_of(path, request.headers) is GEMINI
    if error.status_code == HTTPStatus.NOT_FOUND or is_googles:
        found = absence(path)
        reason, code = found.reason, found.code
    body = envelope(f"{request.method} {path}: {reason}", "invalid_request_error", None, code)
    log_refusal(request, error.status_code, phrase)
    return _in_dialect(request, error.status_code, body, error.headers or {})


async def _client_disconnected(request: Request, error: Exception) -> Response:
    return client_closed()


def client_closed() -> Response:
    """The answer that no client receives."""
    return Response(status_code=CLIENT_CLOSED_REQUEST)


async def _unhandled_error(request: Request, error: Exception) -> Response:
    log_bug(request.scope, error)
    return internal_error(request)


def log_bug(scope: Scope, error: Exception) -> None:
    """Log, once for a request, an error that nothing has handled."""
    state = scope.setdefault("state", {})
    if "is_logged" not in state:
        state["is_logged"] = True
        log.error("unhandled_error", path=masked(scope["path"]), exc_info=error)


def internal_error(request: Request) -> Response:
    """The answer to a request that ran into a bug."""
    body = envelope("internal error", "server_error", None, "internal_error")
    return _in_dialect(request, 500, body, {})
