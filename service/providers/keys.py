"""The key that an arm calls its provider with."""

from __future__ import annotations

from collections.abc import Mapping

from service.domain.arm import Arm
from service.errors import ProviderBroken


def api_key(arm: Arm, secrets: Mapping[str, str]) -> str | None:
    """The arm's key; None if the arm needs none.

    Raises:
        ProviderBroken: the variable that the arm names is not set, or the call came without its key.
    """
    if arm.key is not None:
        return arm.key.value
    if not arm.has_standing_key:
        raise ProviderBroken(f"{arm.model} needs a key for each call ({arm.key_name})", status=401)
    if arm.api_key_env is None:
        return None
    key = secrets.get(arm.api_key_env, "").strip()
    if not key:
        raise ProviderBroken(f"{arm.model} needs a key, and {arm.api_key_env} is not set", status=401)
    return key


def anthropic_headers(arm: Arm, key: str | None) -> Mapping[str, str]:
    """The header in which Anthropic's API gets the key: its own, or that of a bearer token."""
    if key is None:
        return {}
    is_bearer = arm.key is not None and arm.key.is_bearer
    return {"Authorization": f"{BEARER}{key}"} if is_bearer else {"x-api-key": key}


BEARER = "Bearer "
NO_KEY = "no-key"  # stands for the key of a server that needs none; LiteLLM refuses to call without a key
# Providers that LiteLLM refuses to call without a key, and the variables in which it looks for one.
_REQUIRED_BY_LITELLM: Mapping[str, tuple[str, ...]] = {
    "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
    "openai": ("OPENAI_API_KEY",),
    "custom_openai": ("OPENAI_API_KEY",),
    "text-completion-openai": ("OPENAI_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
}


def key_for_litellm(arm: Arm, secrets: Mapping[str, str]) -> str | None:
    """The key to give to LiteLLM; None: it finds one itself, or needs none.

    An arm of provider `anthropic` without `api_key_env` is called without a key, as in Anthropic's dialect.
    A bearer token begins with `Bearer`, for a hook of the HTTP client to put it into its header.

    Raises:
        ProviderBroken: the variable that the arm names is not set, or the call came without its key.
    """
    if arm.key is not None and arm.key.is_bearer:
        return f"{BEARER}{arm.key.value}"
    if arm.api_key_env is not None or arm.key is not None or not arm.has_standing_key:
        return api_key(arm, secrets)
    if arm.provider == "anthropic":
        return NO_KEY
    variables = _REQUIRED_BY_LITELLM.get(arm.model.partition("/")[0], ())
    is_own_server = arm.base_url is not None and bool(variables)
    return NO_KEY if is_own_server and not any(map(secrets.get, variables)) else None
