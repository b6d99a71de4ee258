"""Writes errors in the Anthropic dialect."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from service.dialects.dialect import Problem
from service.domain import context_overflow
from service.domain.context_overflow import ContextOverflow

_ERROR_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
OVERLOADED = 529  # Anthropic's status for 503
UNPAID = 402  # Anthropic's status for OpenAI's 429 `insufficient_quota`


class AnthropicErrorBody(BaseModel):
    type: str
    message: str


class AnthropicErrorEnvelope(BaseModel):
    """The body of every error in Anthropic's dialect."""

    type: Literal["error"]
    error: AnthropicErrorBody
    request_id: str | None


def error(problem: Problem, request_id: str | None) -> Problem:
    """Translate the status and envelope of an error from OpenAI's dialect."""
    fields = problem[1]["error"]
    status = error_status(problem[0], fields["code"])
    kind = _ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    message = fields["message"]
    if fields["code"] == context_overflow.CODE:
        message = ContextOverflow.read(message).in_anthropics_words
    body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}
    return status, body


def error_status(status: int, code: str | None) -> int:
    """Anthropic's status for OpenAI's status and code."""
    if code == "insufficient_quota":
        return UNPAID
    return OVERLOADED if status == 503 else status
