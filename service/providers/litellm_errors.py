"""The router's errors for LiteLLM's: what the provider answered, not what LiteLLM made of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from service.domain.arm import Arm
from service.domain.local_faults import local_fault
from service.errors import LocalFault, ProviderBroken, ProviderError, ProviderRejected, ProviderTimeout
from service.providers.failures import failure_in

_MAX_CAUSES = 10
_BEFORE_THE_CALL = frozenset({"UnsupportedParamsError"})  # errors of LiteLLM's own translation
_TIMEOUTS = frozenset({"ReadTimeout", "WriteTimeout", "PoolTimeout", "APITimeoutError"})


def translated(
    arm: Arm, error: Exception, *, timeout_s: float, secret: str | None, now: datetime
) -> ProviderError:
    """The router's error, without a cause: LiteLLM's errors contain the key.

    Args:
        timeout_s: the limit of the call, for the message.
        secret: the key of the call.
    """
    chain = list(_causes(error))
    if (own := next((cause for cause in chain if isinstance(cause, ProviderError)), None)) is not None:
        return own
    if (missing := next(filter(None, map(local_fault, chain)), None)) is not None:
        return LocalFault(f"the router could not call a model: {missing}")
    if "LLM Provider NOT provided" in str(error):
        return ProviderBroken(f"{arm.model} answered 404: LiteLLM knows no such provider", status=404)
    if any(isinstance(cause, TimeoutError) or type(cause).__name__ in _TIMEOUTS for cause in chain):
        return ProviderTimeout(f"{arm.model} gave no answer within {timeout_s:g} s", has_begun=True)
    if (response := _response(chain)) is not None:
        return failure_in(
            arm, response.content, response.status_code, now=now, headers=response.headers, secret=secret
        )
    kind = type(error).__name__
    statuses = [getattr(cause, "status_code", None) for cause in chain]
    status = next((status for status in statuses if isinstance(status, int)), None)
    if status is None or kind == "APIConnectionError":
        return ProviderBroken(f"the call of {arm.model} failed: {kind}")
    body = {"message": str(getattr(error, "message", None) or error), "type": kind}
    failure = failure_in(arm, body, status, now=now, secret=secret)
    if isinstance(failure, ProviderRejected):
        failure.is_local = kind in _BEFORE_THE_CALL
    return failure


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was made of, up to the first."""
    cause: Any = error
    for _ in range(_MAX_CAUSES):
        if not isinstance(cause, BaseException):
            return
        yield cause
        cause = getattr(cause, "original_exception", None) or cause.__cause__ or cause.__context__


def _response(chain: list[BaseException]) -> Any:
    """The HTTP response that the provider refused with; the errors of LiteLLM itself have invented ones."""
    for cause in reversed(chain):
        response = getattr(cause, "response", None)
        if not type(cause).__module__.startswith("litellm.") and hasattr(response, "status_code"):
            return response
    return None
