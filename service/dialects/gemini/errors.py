"""Writes errors as Google's APIs do."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from service.dialects.dialect import Problem
from service.domain import context_overflow
from service.domain.basics import Json
from service.domain.context_overflow import ContextOverflow

_STATUSES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_GOOGLES = {405: 404}  # to Google, a path and the verb on it are one method
_DOMAIN = "llm-router"


class GoogleErrorBody(BaseModel):
    code: int
    message: str
    status: str
    details: list[dict[str, Any]]


class GoogleErrorEnvelope(BaseModel):
    """The body of every error in Google's dialect."""

    error: GoogleErrorBody


def error(problem: Problem, request_id: str | None, wait_s: float | None = None) -> Problem:
    """Translate the status and envelope of an error from OpenAI's dialect."""
    status, fields = _GOOGLES.get(problem[0], problem[0]), problem[1]["error"]
    body = {
        "code": status,
        "message": _message(fields),
        "status": _STATUSES.get(status, "INVALID_ARGUMENT" if status < 500 else "INTERNAL"),
        "details": _details(status, fields, request_id, wait_s),
    }
    return status, {"error": body}


def _message(fields: Json) -> str:
    message = str(fields["message"])
    if fields.get("code") != context_overflow.CODE:
        return message
    return ContextOverflow.read(message).in_googles_words


def _details(status: int, fields: Json, request_id: str | None, wait_s: float | None) -> list[Json]:
    details = []
    if code := fields.get("code"):
        details.append(_detail("ErrorInfo", reason=str(code).upper(), domain=_DOMAIN))
    if status == 400 and (param := fields.get("param")):
        violation = {"field": param, "description": fields["message"]}
        details.append(_detail("BadRequest", fieldViolations=[violation]))
    if wait_s is not None:
        details.append(_detail("RetryInfo", retryDelay=f"{wait_s:.3f}".rstrip("0").rstrip(".") + "s"))
    if request_id is not None:
        details.append(_detail("RequestInfo", requestId=request_id))
    return details


def _detail(kind: str, **fields: Any) -> Json:
    return {"@type": f"type.googleapis.com/google.rpc.{kind}", **fields}
