"""The errors of the router, one class for each different reaction of a client.

    RouterError
    ├── BadRequest              the client's input breaks a rule            -> correct it
    │   ├── UnknownModel        no arm has that name                        -> pick another
    │   ├── ContextTooLong      the prompt exceeds every arm's window       -> shorten it
    │   ├── NoEligibleArm       every arm was filtered out, with reasons    -> relax the request
    │   ├── BodyTooLarge        more bytes than MAX_BODY_BYTES              -> send less
    │   ├── HeadersTooLarge     more headers than a request may have        -> send fewer
    │   ├── SlowRequest         the request does not arrive in time         -> send it faster
    │   ├── NotJson             a body that is not declared as JSON         -> set Content-Type
    │   ├── RequestConflict     the X-Request-ID was used for another body  -> use another id
    │   ├── ModelConflict       the state of the models forbids the change  -> change another first
    │   ├── CalibrationConflict a calibration runs, or cannot go on here    -> wait, or stop it
    │   ├── KeyRequired         no key, or one that is not valid            -> send a valid one
    │   ├── ScopeMissing        the key does not allow what was asked       -> use another key
    │   ├── AdminClosed         /admin is closed to the network             -> set ADMIN_KEY
    │   ├── KeyConflict         the keys that exist forbid the change       -> pick another name
    │   ├── UnknownKey          no key has that id or name                  -> check it
    │   ├── ForbiddenHost       the router is called by an unknown name     -> set ALLOWED_HOSTS
    │   ├── ForbiddenOrigin     a browser page of a foreign origin          -> set CORS_ORIGINS
    │   ├── LoginRefused        a login at a provider failed, or is unknown  -> log in again
    │   ├── NotConfigured       what the path does needs a model of its own -> the operator adds one
    │   ├── UnknownRequest      no request has that id                      -> check the id
    │   ├── UnknownCalibration  no calibration has that id                  -> check the id
    │   ├── UnknownResponse     no stored response has that id              -> check the id
    │   └── UnknownPreviousResponse ... that the request continues          -> send the whole input
    ├── Unavailable             a dependency is unavailable                 -> retry later
    │   ├── StoreUnavailable    PostgreSQL
    │   │   └── StoreBusy       ... it answers, but not this call in time
    │   ├── MemoryUnavailable   Qdrant
    │   ├── LoginUnavailable    the server of a provider's logins
    │   └── Overloaded          the router: too many requests wait already
    ├── LimitReached            a limit of the caller or of a model         -> retry after Retry-After
    │   └── BudgetSpent         ... of dollars, which no retry helps        -> the operator raises it
    ├── ProviderError           one call of a model failed                  -> try the next arm
    │   ├── ProviderTimeout     ... the model took too long
    │   │   └── ProviderCutShort ... because the request's deadline left it too little time
    │   ├── ProviderRateLimited ... the provider limits the rate of requests
    │   │   └── ProviderOutOfCredit ... the account has no credit
    │   ├── ProviderRejected    ... the provider rejected the request (4xx); another may accept it
    │   ├── LocalFault          ... this machine has no descriptor, port or memory -> retry later
    │   ├── CallersKeyRefused   ... the provider refused the caller's own key -> send a valid one
    │   ├── ProviderBroken      ... 5xx, a lost connection, or an invalid answer
    │   └── ProviderFellShort   ... the answer is empty, refused, cut off or breaks its schema
    ├── AllArmsFailed           every eligible arm failed or cools down     -> retry later
    │   └── AllArmsLimited      ... every provider limits the rate          -> retry after Retry-After
    │       └── AllArmsUnpaid   ... no account has credit                   -> the operator pays
    └── StartupError            the configuration or the environment prevents the start

Anything else (ValueError, TypeError) is a bug of the calling code and is not caught.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import NamedTuple


class RouterError(Exception):
    """A failure outside the code. Its message is fit for the client: it gives the value and the rule."""


class BadRequest(RouterError):
    """The client's input breaks a rule.

    Args:
        message: the field and the rule.
        param: the path of the field in the body, or the name of the header.
    """

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class UnknownModel(BadRequest):
    """No model has that id or alias."""


class ContextTooLong(BadRequest):
    """The prompt is longer than the context window of every model that could answer."""


class NoEligibleArm(BadRequest):
    """Every model was filtered out; the message gives the reason for each."""


class BodyTooLarge(BadRequest):
    """The body has more bytes than MAX_BODY_BYTES."""


class HeadersTooLarge(BadRequest):
    """The head of the request has too many bytes or headers."""


class SlowRequest(BadRequest):
    """The head or the body of the request did not arrive in time."""


class NotJson(BadRequest):
    """The body is not declared as JSON by `Content-Type`."""


class RequestConflict(BadRequest):
    """The X-Request-ID was used before with another body."""


class ModelConflict(BadRequest):
    """The state of the models forbids the change."""


class CalibrationConflict(BadRequest):
    """Another calibration runs, or this one cannot go on here."""


class KeyRequired(BadRequest):
    """The request carries no key of the router, or one that is not valid."""


class ScopeMissing(BadRequest):
    """The key is valid, but has not the scope that the path needs."""


class KeyConflict(BadRequest):
    """The keys that exist forbid the change."""


class UnknownKey(BadRequest):
    """No key that was not revoked has that id or name."""


class AdminClosed(BadRequest):
    """/admin is closed without a key: the service answers the network or every page."""


class ForbiddenHost(BadRequest):
    """The `Host` header names neither the machine nor a name in ALLOWED_HOSTS."""


class ForbiddenOrigin(BadRequest):
    """A browser page whose origin is not in CORS_ORIGINS sent the request."""


class LoginRefused(BadRequest):
    """A login at a provider was refused, or no such login was begun."""


class NotConfigured(BadRequest):
    """No model is configured that could do what the path is for; a retry does not help."""


class UnknownRequest(BadRequest):
    """No request has that X-Request-ID."""


class UnknownCalibration(BadRequest):
    """No calibration has that id."""


class UnknownResponse(BadRequest):
    """No stored response has that id."""


class UnknownPreviousResponse(BadRequest):
    """A response that the request continues is not stored."""


class Unavailable(RouterError):
    """A dependency is unavailable; a retry after `retry_after_s` may succeed."""

    def __init__(self, message: str, *, retry_after_s: float = 2.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StoreUnavailable(Unavailable):
    """PostgreSQL does not answer."""


class StoreBusy(StoreUnavailable):
    """PostgreSQL answers other calls, but had no time for this one: the service is overloaded."""


class MemoryUnavailable(Unavailable):
    """Qdrant does not answer."""


class LoginUnavailable(Unavailable):
    """The server of a provider's logins does not answer."""


class Overloaded(Unavailable):
    """So many requests wait for the router itself that one more is not let in."""


class Rate(NamedTuple):
    """What is left of a limit of requests or tokens, as clients are told."""

    limit: int
    left: int
    resets_in_s: float


class LimitReached(RouterError):
    """A limit of the caller, or of every model that could answer, leaves too little for the request.

    Args:
        retry_after_s: when the limit may leave enough.
        rates: of the caller, by `requests` and `tokens`.
    """

    def __init__(
        self, message: str, *, retry_after_s: float, rates: Mapping[str, Rate] = MappingProxyType({})
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.rates = rates


class BudgetSpent(LimitReached):
    """The dollars of the period are used up, or less are left than the request may cost."""


class ProviderError(RouterError):
    """One call of a model failed.

    Args:
        has_begun: whether the request had reached the model, whose provider then bills what it has read and
            written.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        has_begun: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s
        self.has_begun = has_begun


class ProviderTimeout(ProviderError):
    """The model sent no answer, or no further part of it, in time."""


class ProviderCutShort(ProviderTimeout):
    """The call failed because the request's deadline left it too little time; the model is not at fault."""


class ProviderRateLimited(ProviderError):
    """The provider answered 429."""


class ProviderOutOfCredit(ProviderRateLimited):
    """The account has no credit: 402, or 429 with `insufficient_quota`."""


# Statuses of a request that a provider rejected as faulty, as clients get them.
REJECTED_STATUSES = (400, 413)

# Error codes of a request that one model rejects and another may accept.
LIMITS_OF_ONE_MODEL = frozenset(
    {"unsupported_parameter", "unsupported_value", "context_length_exceeded", "request_too_large"}
)


class ProviderRejected(ProviderError):
    """The provider rejected the request as faulty.

    Args:
        another_may_accept: whether the provider blames what this model cannot do, or nothing at all.
        is_local: whether the router itself knew it before any call.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        param: str | None = None,
        code: str | None = None,
        another_may_accept: bool = False,
        is_local: bool = False,
    ) -> None:
        super().__init__(message, status=status)
        self.is_local = is_local
        self.param = param
        self.code = code
        self._another_may_accept = another_may_accept

    @property
    def is_limit_of_one_model(self) -> bool:
        """Whether another model may accept the request."""
        return self._another_may_accept or self.code in LIMITS_OF_ONE_MODEL

    @property
    def rejects_thinking(self) -> bool:
        """Whether the provider rejects the signature of a thinking block in the request."""
        message = str(self).lower()
        return self.status == 400 and "signature" in message and "thinking" in message


class CallersKeyRefused(ProviderError):
    """The provider refused the caller's own key (401 or 403); this counts against no model."""


class LocalFault(ProviderError):
    """The call was not made: this machine gave no descriptor, port, memory or disk. No model is at fault."""


class ProviderBroken(ProviderError):
    """The provider failed: 5xx, a lost connection, or an invalid answer."""


class ProviderFellShort(ProviderError):
    """The answer is complete, but empty, refused, cut off or not valid under its schema."""


class AllArmsFailed(RouterError):
    """Every model that could answer failed or is cooling down.

    Args:
        cooling_down: if no arm was called, why each is cooling down, by arm id; the arm that is available
            first comes first.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float | None = None,
        cooling_down: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.cooling_down = cooling_down or {}


class AllArmsLimited(AllArmsFailed):
    """Every provider that could answer limits the rate of requests."""


class AllArmsUnpaid(AllArmsLimited):
    """No account with a provider that could answer has credit."""


def no_answer(
    causes: Collection[type[ProviderError]],
    message: str,
    *,
    retry_after_s: float | None = None,
    cooling_down: Mapping[str, str] | None = None,
) -> AllArmsFailed:
    """The error of a request that no arm answers, chosen by the errors of the arms."""
    kind = AllArmsFailed
    if causes and all(issubclass(cause, ProviderRateLimited) for cause in causes):
        is_unpaid = all(issubclass(cause, ProviderOutOfCredit) for cause in causes)
        kind = AllArmsUnpaid if is_unpaid else AllArmsLimited
    return kind(message, retry_after_s=retry_after_s, cooling_down=cooling_down)


class StartupError(RouterError):
    """The configuration or the environment prevents the start; the message is one line."""
