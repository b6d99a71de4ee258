"""Errors for the answers of providers that refuse or fail: one table of statuses for all providers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

from service.domain.arm import Arm
from service.domain.basics import Json
from service.errors import (
    REJECTING_STATUSES,
    ProviderBroken,
    ProviderError,
    ProviderOutOfCredit,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
)

MAX_RETRY_AFTER_S = 3600.0
_MAX_MESSAGE_CHARS = 500
UNPAID = ("Your credit balance is too low", "You have reached your specified API usage limits")  # Anthropic


def failure(
    arm: Arm,
    status: int,
    *,
    message: str | None = None,
    param: str | None = None,
    code: str | None = None,
    retry_after_s: float | None = None,
) -> ProviderError:
    """The error for an answer of this status.

    Args:
        message: the message of the error envelope; None: no envelope came, so that a proxy in front of the
            model may have answered.
    """
    detail = f": {message}" if message else ""
    if status == 402 or _is_unpaid(status, code, message or "", retry_after_s):
        text = f"{arm.model}: the provider account has no credit (HTTP {status}){detail}"
        return ProviderOutOfCredit(text, status=status, retry_after_s=retry_after_s)
    if status == 429:
        text = f"{arm.model}: the provider asked to wait (HTTP {status}){detail}"
        return ProviderRateLimited(text, status=status, retry_after_s=retry_after_s)
    if status in (408, 504, 524):
        return ProviderTimeout(f"{arm.model} answered {status}{detail}", status=status)
    if status in (401, 403):
        # The provider's message is left out: it may quote the key.
        return ProviderBroken(f"{arm.model} refused the router's key ({status})", status=status)
    if status == 413:  # also from a proxy: the request is too large either way
        text = message or f"{arm.model} does not accept a request of this size (HTTP 413)"
        return ProviderRejected(text, status=status, param=param, code=code or "request_too_large")
    if status in REJECTING_STATUSES and message and not _is_about_model(param, code, message):
        return ProviderRejected(message, status=status, param=param, code=code)
    return ProviderBroken(f"{arm.model} answered {status}{detail}", status=status)


def _is_unpaid(status: int, code: str | None, message: str, retry_after_s: float | None) -> bool:
    """Whether a 429 or 400 means that the account has no credit or has reached its spending limit."""
    if status == 429:
        return code == "insufficient_quota" or (retry_after_s is None and "spend" in message.lower())
    return status == 400 and message.startswith(UNPAID)  # only at the start: some messages quote the client


def _is_about_model(param: str | None, code: str | None, message: str) -> bool:
    """Whether the upstream rejects the name of the model, which the operator chose and not the client."""
    return param == "model" or code == "model_not_found" or "not a valid model" in message


def failure_in(
    arm: Arm, body: object, status: int, *, secret: str | None = None, retry_after_s: float | None = None
) -> ProviderError:
    """The error for an answer with this body, which may contain an OpenAI error envelope."""
    error = _envelope(body)
    if status == 200:  # an error inside a stream, or in place of a completion
        status = _status_code(error) or 502
    status, code = _in_openai_terms(status, error)
    message = _text(error, "message")
    if message and secret:
        message = message.replace(secret, "***")
    return failure(
        arm,
        status,
        message=message and message[:_MAX_MESSAGE_CHARS],
        param=_text(error, "param"),
        code=code,
        retry_after_s=retry_after_s,
    )


def _envelope(body: object) -> Json:
    if not isinstance(body, dict):
        return {}
    error = body.get("error")
    if isinstance(error, dict):
        return error
    if isinstance(error, str):  # Ollama
        return {"message": error}
    return body if body.get("object") == "error" else {}  # older vLLM


def _in_openai_terms(status: int, error: Json) -> tuple[int, str | None]:
    """Status and code as OpenAI sends them; OpenRouter uses 404 and 403 for two faults of the request."""
    if status == 404 and (_text(error, "message") or "").startswith("No endpoints found that support"):
        return 400, "unsupported_parameter"
    metadata = error.get("metadata")
    if status == 403 and isinstance(metadata, dict) and "flagged_input" in metadata:
        return 400, "content_policy_violation"
    return status, _text(error, "code")


def _status_code(error: Json) -> int | None:
    """The HTTP status that OpenRouter and vLLM put into `code`."""
    code = error.get("code")
    return code if isinstance(code, int) and 400 <= code < 600 else None


def _text(error: Json, name: str) -> str | None:
    value = error.get(name)
    return value if isinstance(value, str) and value else None


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that the provider asks to wait, from 0 to an hour; None: it does not state a time."""
    wait_s = _milliseconds(headers.get("retry-after-ms"))
    if wait_s is None:
        wait_s = _seconds_or_date(headers.get("retry-after"), now)
    if wait_s is None or wait_s != wait_s:  # NaN
        return None
    return min(max(wait_s, 0.0), MAX_RETRY_AFTER_S)


def _milliseconds(value: str | None) -> float | None:
    try:
        return float(value) / 1000 if value else None
    except ValueError:
        return None


def _seconds_or_date(value: str | None, now: datetime) -> float | None:
    if not value:
        return None
    try:
        return float(value)
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    return (until - now).total_seconds() if until.tzinfo else None
