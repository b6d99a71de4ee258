"""What can go wrong, one class for each thing a caller would do differently.

    RouterError
    ├── BadRequest              the caller's input breaks a rule            -> mend it
    │   ├── UnknownModel        no arm has that name                        -> pick another
    │   ├── ContextTooLong      the prompt exceeds every arm's window       -> shorten it
    │   ├── NoEligibleArm       every arm was filtered out, with reasons    -> relax the request
    │   ├── BodyTooLarge        more bytes than MAX_BODY_BYTES              -> send less
    │   ├── RequestConflict     the X-Request-ID stands for another body    -> use another id
    │   ├── ModelConflict       the models as they stand forbid the change  -> change another first
    │   ├── KeyRequired         no ADMIN_KEY, or a wrong one                -> send the right one
    │   ├── AdminClosed         /admin is not open to the network           -> set ADMIN_KEY
    │   ├── ForbiddenOrigin     a browser page of a foreign origin          -> CORS_ORIGINS
    │   └── UnknownRequest      nothing is known under that X-Request-ID    -> check the id
    ├── Unavailable             a dependency is away                        -> retry later
    │   ├── StoreUnavailable    PostgreSQL
    │   └── MemoryUnavailable   Qdrant
    ├── ProviderError           one attempt at a model failed               -> the next arm
    │   ├── ProviderTimeout     ... it took too long
    │   │   └── ProviderCutShort ... for what the request's deadline had left for it
    │   ├── ProviderRateLimited ... it asked us to wait
    │   │   └── ProviderOutOfCredit ... until somebody pays
    │   ├── ProviderRejected    ... it found the caller's request faulty (4xx); another arm may not
    │   ├── ProviderBroken      ... 5xx, a lost connection, or an answer that makes no sense
    │   └── ProviderFellShort   ... it answered, but emptily, or worse than another arm may
    ├── AllArmsFailed           every eligible arm was tried, or rests      -> retry later
    │   └── AllArmsLimited      ... as each provider asked to wait          -> retry when it says so
    │       └── AllArmsUnpaid   ... until somebody pays                     -> the operator pays
    └── StartupError            configuration or environment stops the start, in one line

Anything else (ValueError, TypeError) is a bug of the calling code and is not caught.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping


class RouterError(Exception):
    """The world failed; `str(error)` is fit for the caller: it gives the value and the rule."""


class BadRequest(RouterError):
    """The caller's input breaks a rule.

    Args:
        message: names the field and the rule.
        param: the field's path in the body, or the header's name.
    """

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class UnknownModel(BadRequest):
    """No arm has that id or alias."""


class ContextTooLong(BadRequest):
    """The prompt is longer than the context window of every arm that could answer."""


class NoEligibleArm(BadRequest):
    """Every arm was filtered out; the message says why for each."""


class BodyTooLarge(BadRequest):
    """The body has more bytes than allowed."""


class RequestConflict(BadRequest):
    """The X-Request-ID was used before with another body."""


class ModelConflict(BadRequest):
    """The models as they stand forbid the change."""


class KeyRequired(BadRequest):
    """The caller did not show the ADMIN_KEY."""


class AdminClosed(BadRequest):
    """/admin is closed: the service can be reached from elsewhere and has no ADMIN_KEY."""


class ForbiddenOrigin(BadRequest):
    """A page of an origin outside CORS_ORIGINS called."""


class UnknownRequest(BadRequest):
    """Nothing is known under that X-Request-ID."""


class Unavailable(RouterError):
    """A dependency is away; retrying after `retry_after_s` may help."""

    def __init__(self, message: str, *, retry_after_s: float = 2.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StoreUnavailable(Unavailable):
    """PostgreSQL does not answer."""


class MemoryUnavailable(Unavailable):
    """Qdrant does not answer."""


class ProviderError(RouterError):
    """One attempt at a model failed."""

    def __init__(
        self, message: str, *, status: int | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class ProviderTimeout(ProviderError):
    """The model gave no (further) answer in time."""


class ProviderCutShort(ProviderTimeout):
    """The request's deadline left the model too little time to be blamed for that."""


class ProviderRateLimited(ProviderError):
    """The provider answered 429."""


class ProviderOutOfCredit(ProviderRateLimited):
    """The account has no credit: 402, or 429 with `insufficient_quota`."""


# Statuses by which providers say that the caller's request is faulty.
REJECTING_STATUSES = (400, 413, 422)

# Codes of faults that a request has with one model only.
LIMITS_OF_ONE_MODEL = frozenset(
    {"unsupported_parameter", "unsupported_value", "context_length_exceeded", "request_too_large"}
)


class ProviderRejected(ProviderError):
    """The provider found the caller's request faulty, for this model or for any."""

    def __init__(
        self, message: str, *, status: int, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message, status=status)
        self.param = param
        self.code = code

    @property
    def another_may_accept(self) -> bool:
        """Whether the fault lies in what this model can do."""
        return self.code in LIMITS_OF_ONE_MODEL

    @property
    def blames_thinking(self) -> bool:
        """Whether it does not take the signature of what a model is said to have thought before."""
        said = str(self).lower()
        return self.status == 400 and "signature" in said and "thinking" in said


class ProviderBroken(ProviderError):
    """The provider failed: 5xx, a lost connection, or an answer that makes no sense."""


class ProviderFellShort(ProviderError):
    """The answer is whole, but empty, refused, cut off or out of form."""


class AllArmsFailed(RouterError):
    """Every arm that could answer was tried, or is resting after failures.

    Args:
        rests: where none was tried, why each rests, by arm id; the arm that is back first comes first.
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
    """The provider of every arm that could answer asked to wait."""


class AllArmsUnpaid(AllArmsLimited):
    """No account with any provider that could answer has credit."""


def no_answer(
    causes: Collection[type[ProviderError]],
    message: str,
    *,
    retry_after_s: float | None = None,
    cooling_down: Mapping[str, str] | None = None,
) -> AllArmsFailed:
    """The error of a request that no arm answers, by what each of them failed of."""
    kind = AllArmsFailed
    if causes and all(issubclass(cause, ProviderRateLimited) for cause in causes):
        is_unpaid = all(issubclass(cause, ProviderOutOfCredit) for cause in causes)
        kind = AllArmsUnpaid if is_unpaid else AllArmsLimited
    return kind(message, retry_after_s=retry_after_s, cooling_down=cooling_down)


class StartupError(RouterError):
    """The configuration or the environment does not allow a start; the message is one line."""
