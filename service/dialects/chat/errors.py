"""Errors in OpenAI's envelope, the form that errors have inside the router."""

from __future__ import annotations

from pydantic import BaseModel

from service.dialects.dialect import Problem


class ErrorBody(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorEnvelope(BaseModel):
    """The body of every error."""

    error: ErrorBody


class OpenAIErrors:
    """The part of a dialect that has OpenAI's errors."""

    error_model = ErrorEnvelope

    def error(self, problem: Problem, request_id: str | None, wait_s: float | None = None) -> Problem:
        return problem
