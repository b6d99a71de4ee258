"""Where the keys of providers may go: only where the configuration sends them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from service.domain.arm import Arm
from service.domain.hosts import Origin, origin_of_url
from service.domain.oauth import OAuthProvider
from service.providers.anthropic import ANTHROPIC_BASE_URL
from service.providers.openai_request import OPENAI_BASE_URL

_DEFAULT_URLS = {"openai": OPENAI_BASE_URL, "anthropic": ANTHROPIC_BASE_URL}
# Through LiteLLM, a call without a key carries the key that LiteLLM finds in the environment.
_FINDS_KEYS = frozenset({"litellm"})


class Destination(NamedTuple):
    """Where the calls of an arm go.

    Args:
        library: LiteLLM's name of the provider, which chooses the host unless there is an origin. A model's
            name that is not `provider/model` is its own provider: it may contain a URL.
    """

    library: str | None
    origin: Origin | None

    def __str__(self) -> str:
        return " at ".join(str(part) for part in (self.library, self.origin) if part is not None)


@dataclass(frozen=True, slots=True)
class KeyProblem:
    """The field of a model that would send a key elsewhere, and the rule it breaks."""

    field: str
    message: str


@dataclass(frozen=True, slots=True)
class KeyBindings:
    """The destinations of each key, by its name; None: of the keys that LiteLLM finds."""

    bound: Mapping[str | None, frozenset[Destination]]

    @classmethod
    def of(cls, arms: Iterable[Arm], logins: Iterable[OAuthProvider] = ()) -> KeyBindings:
        """The bindings that these arms and logins of the configuration make."""
        bound: dict[str | None, set[Destination]] = {
            f"auth: {login.name}": {Destination(None, origin) for origin in login.origins} for login in logins
        }
        for endpoint in (endpoint for arm in arms for endpoint in arm.endpoints):
            try:
                bound.setdefault(endpoint.key_name, set()).add(destination(endpoint))
            except ValueError:  # a URL that can be read in several ways binds nothing
                continue
        return cls({key: frozenset(places) for key, places in bound.items()})

    def problem(self, arm: Arm) -> KeyProblem | None:
        """Why an arm that is not of the configuration must not be called; None: it may be."""
        return next(filter(None, map(self._problem_at, arm.endpoints)), None)

    def _problem_at(self, arm: Arm) -> KeyProblem | None:
        key = arm.key_name
        if key is not None and key not in self.bound:
            names = ", ".join(sorted(name for name in self.bound if name)) or "none"
            return KeyProblem(
                _field(arm), f"must be a key that the configuration uses ({names}), got {key!r}"
            )
        try:
            place = destination(arm)
        except ValueError as error:
            return KeyProblem("base_url", str(error))
        places = self.bound.get(key, frozenset())
        if arm.provider == "simulator" or place in places:
            return None
        if key is None:
            return self._problem_without_key(arm)
        field = "model" if arm.base_url is None else "base_url"
        allowed = ", ".join(sorted(str(place) for place in places))
        return KeyProblem(
            field, f"{key} may go only where the configuration sends it ({allowed}), not to {place}"
        )

    def _problem_without_key(self, arm: Arm) -> KeyProblem | None:
        if arm.provider not in _FINDS_KEYS:
            return None
        return KeyProblem(
            "api_key_env",
            f"required for provider {arm.provider}, which would send a key that it finds in the environment; "
            "for a server without keys use provider openai",
        )


def _field(arm: Arm) -> str:
    """The field of a model that names its key."""
    if arm.has_standing_key:
        return "api_key_env"
    return "api_key" if arm.takes_client_key else "auth"


def destination(arm: Arm) -> Destination:
    """Where the calls of an arm go. Raises ValueError if its base URL can be read in several ways."""
    url = arm.base_url or _DEFAULT_URLS.get(arm.provider)
    library = None
    if arm.provider == "litellm":
        provider, _, model = arm.model.partition("/")
        library = arm.model if not model or "//" in arm.model else f"{provider}/"
    return Destination(library, None if url is None else origin_of_url(url))
