"""Errors for the answers of providers that refuse or fail: one table of statuses for all providers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from service.domain.arm import Arm
from service.errors import (
    CallersKeyRefused,
    ProviderBroken,
    ProviderError,
    ProviderOutOfCredit,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
)
from service.providers.refusals import Refusal, read, value_of
from service.providers.waiting import wait_s
from service.providers.wordings import limit_of_model

NO_HEADERS: Mapping[str, str] = {}
_MAX_MESSAGE_CHARS = 500
_MAY_NAME_A_LIMIT = {400, 413, 422, 429}
_UNREADABLE_200 = 502  # the status of an error in place of an answer that states none

# What the names of errors mean where the status does not say it: inside an answer of status 200, and with the
# 400 that some send for everything.
_STATUS_OF_KIND = {
    "invalid_request_error": 400,
    "badrequesterror": 400,
    "validationexception": 400,
    "invalid_argument": 400,
    "authentication_error": 401,
    "authenticationerror": 401,
    "unauthenticated": 401,
    "api_key_invalid": 401,
    "invalid_api_key": 401,
    "unrecognizedclientexception": 401,
    "expiredtokenexception": 401,
    "invalidsignatureexception": 401,
    "billing_error": 402,
    "permission_error": 403,
    "permission_denied": 403,
    "accessdeniedexception": 403,
    "not_found_error": 404,
    "notfounderror": 404,
    "model_not_found": 404,
    "model_decommissioned": 404,
    "resourcenotfoundexception": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "ratelimiterror": 429,
    "resource_exhausted": 429,
    "throttlingexception": 429,
    "toomanyrequestsexception": 429,
    "servicequotaexceededexception": 429,
    "too_many_requests": 429,
    "api_error": 500,
    "server_error": 500,
    "internal": 500,
    "internalserverexception": 500,
    "internalservererror": 500,
    "unavailable": 503,
    "serviceunavailableexception": 503,
    "timeout_error": 504,
    "deadline_exceeded": 504,
    "modeltimeoutexception": 504,
    "overloaded_error": 529,
}
_OVERRIDING_400 = frozenset({401, 402, 403, 404, 413, 429})
_UNPAID_KINDS = frozenset(
    {"insufficient_quota", "insufficient_balance", "exceeded_current_quota_error", "billing_error"}
)
_MODERATED_KINDS = frozenset({"flagged_input", "content_policy_violation", "content_filter"})
# Sentences at whose start a provider blames the account, the key or the model's name: the operator's.
# Further on in a sentence may stand what the client wrote.
_UNPAID = (
    "your credit balance is too low",
    "you have reached your specified api usage limits",
    "insufficient balance",
    "insufficient credits",
    "余额不足",
    "账户余额不足",
)
_WRONG_KEY = (
    "api key not valid",
    "api key expired",
    "api key not found",
    "incorrect api key",
    "invalid api key",
    "the security token included in the request is",
)
_WRONG_MODEL = (
    "model not found",
    "model not exist",
    "unknown model",
    "invalid model",
    "the provided model identifier is invalid",
    "no such model",
)


def failure_in(
    arm: Arm,
    body: object,
    status: int,
    *,
    now: datetime,
    headers: Mapping[str, str] = NO_HEADERS,
    secret: str | None = None,
) -> ProviderError:
    """The error for a body that is no answer.

    Args:
        body: JSON, text or bytes.
        status: the HTTP status; 200: an error inside a stream, or in place of an answer.
        now: the current time, to read dates.
        secret: the key of the call, which is masked in messages.
    """
    body = value_of(body) if isinstance(body, bytes) else body
    refusal = read(body, secret=secret)
    if status == 200 and refusal.sentence is None and refusal.status is None:
        message = f"{arm.model} answered something other than a chat completion"
        return ProviderBroken(message, status=200, has_begun=True)
    meant = _meant(status, refusal)
    return failure(arm, meant, refusal, retry_after_s=wait_s(headers, body, refusal.sentence, now))


def failure(arm: Arm, status: int, refusal: Refusal, *, retry_after_s: float | None = None) -> ProviderError:
    """The error for a refusal of this status."""
    sentence = _cut(refusal.sentence)
    detail = f": {sentence}" if sentence else ""
    if status == 402 or _is_unpaid(status, refusal, retry_after_s):
        text = f"{arm.model}: the provider account has no credit (HTTP {status}){detail}"
        return ProviderOutOfCredit(text, status=status, retry_after_s=retry_after_s)
    if (rejected := _rejected(arm, status, refusal, sentence)) is not None:
        return rejected
    if status == 429:
        text = f"{arm.model}: the provider asked to wait (HTTP {status}){detail}"
        return ProviderRateLimited(text, status=status, retry_after_s=retry_after_s)
    if status in (401, 403):
        # The provider's message is left out: it may quote the key.
        if arm.takes_client_key:
            text = f"{arm.model}: the provider refused the key that the request carries (HTTP {status})"
            return CallersKeyRefused(text, status=status)
        return ProviderBroken(f"{arm.model} refused the router's key ({status})", status=status)
    kind = ProviderTimeout if status in (408, 504, 524) else ProviderBroken
    return kind(f"{arm.model} answered {status}{detail}", status=status, retry_after_s=retry_after_s)


def _rejected(arm: Arm, status: int, refusal: Refusal, sentence: str | None) -> ProviderRejected | None:
    """The error if the request is to blame: for what this model cannot do, or for what it says.

    A 400 without a readable reason may be a fault of the request or of the way to the model: another model is
    asked, and the circuit breaker is not told.
    """
    limit = limit_of_model(status, refusal.kinds, refusal.sentence) if _may_name_a_limit(status) else None
    code = limit if limit == "context_length_exceeded" else refusal.code or limit
    if "flagged_input" in refusal.kinds:
        code = "content_policy_violation"
    if status == 413:
        limit, code = limit or "request_too_large", code or "request_too_large"
        sentence = sentence or f"{arm.model} does not accept a request of this size (HTTP 413)"
    if limit is None and status not in (400, 422):
        return None
    return ProviderRejected(
        sentence or f"{arm.model} rejected the request without a reason (HTTP {status})",
        status=status,
        param=refusal.param,
        code=code,
        another_may_accept=limit is not None or sentence is None,
    )


def _may_name_a_limit(status: int) -> bool:
    return status in _MAY_NAME_A_LIMIT or status >= 500


def _meant(status: int, refusal: Refusal) -> int:
    """The status in OpenAI's terms: some vendors send one for everything, or put theirs into the body."""
    said = (refusal.sentence or "").lower()
    stated = [_STATUS_OF_KIND[kind] for kind in refusal.kinds if kind in _STATUS_OF_KIND]
    if status == 200:
        is_limit = limit_of_model(400, refusal.kinds, refusal.sentence) == "context_length_exceeded"
        status = refusal.status or max(stated, default=400 if is_limit else _UNREADABLE_200)
    if status in (400, 422):
        if refusal.param == "model" or said.startswith(_WRONG_MODEL) or "is not a valid model" in said[:80]:
            return 404
        return (
            401 if said.startswith(_WRONG_KEY) else max(_OVERRIDING_400.intersection(stated), default=status)
        )
    if status >= 500 and 429 in (refusal.status, *stated):
        return 429
    if status == 404 and said.startswith("no endpoints found that"):  # OpenRouter: none with this ability
        return 400
    return 400 if status == 403 and refusal.kinds & _MODERATED_KINDS else status


def _is_unpaid(status: int, refusal: Refusal, retry_after_s: float | None) -> bool:
    """Whether a 429, 403 or 400 means that the account has no credit or has reached its spending limit."""
    said = (refusal.sentence or "").lower()
    if status == 429:
        return (
            bool(refusal.kinds & _UNPAID_KINDS)
            or (retry_after_s is None and "spend" in said)
            or said.startswith(_UNPAID)
        )
    return status in (400, 403) and said.startswith(_UNPAID)


def _cut(sentence: str | None) -> str | None:
    if sentence is None or len(sentence) <= _MAX_MESSAGE_CHARS:
        return sentence
    return sentence[: _MAX_MESSAGE_CHARS - 1] + "…"
