"""The models behind the router: one of each vendor and generation that refuses something else."""

from __future__ import annotations

from service.domain.basics import Json
from tests.clients.upstream import ScriptedUpstream

PROVIDERS = {
    "gpt-4.1": "openai",
    "gpt-5.4": "openai",
    "mistral-large": "openai",
    "qwen3-32b": "openai",
    "claude-haiku-4-5": "anthropic",
    "claude-opus-4-8": "anthropic",
}
KEY_VARIABLE = "UPSTREAM_KEY"


def models_of(key: str) -> list[str]:
    """The ids of a client's models: of its own, so that other clients' failures do not exclude them."""
    return [f"{key}.{name}" for name in PROVIDERS]


def configured(key: str, upstream: ScriptedUpstream) -> list[Json]:
    """A client's models as the router's configuration has them."""
    return [
        {
            "id": f"{key}.{name}",
            "provider": provider,
            "base_url": upstream.address(key, provider),
            "model": name,
            "api_key_env": KEY_VARIABLE,
            "price": {"input": 1, "output": 2},
            "capabilities": ["tools", "json_schema"],
        }
        for name, provider in PROVIDERS.items()
    ]
