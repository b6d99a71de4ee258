"""The hosts of models, by the names that LiteLLM has for them."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import urlsplit

from service.domain.arm import Arm

# By the end of their hosts' names.
_HOSTS = {
    "ai-gateway.vercel.sh": "vercel_ai_gateway",
    "aliyuncs.com": "dashscope",
    "api.anthropic.com": "anthropic",
    "api.cerebras.ai": "cerebras",
    "api.cohere.com": "cohere",
    "api.deepinfra.com": "deepinfra",
    "api.deepseek.com": "deepseek",
    "api.fireworks.ai": "fireworks_ai",
    "api.groq.com": "groq",
    "api.hyperbolic.xyz": "hyperbolic",
    "api.minimax.io": "minimax",
    "api.mistral.ai": "mistral",
    "api.moonshot.ai": "moonshot",
    "api.novita.ai": "novita",
    "api.openai.com": "openai",
    "api.perplexity.ai": "perplexity",
    "api.sambanova.ai": "sambanova",
    "api.together.xyz": "together_ai",
    "api.x.ai": "xai",
    "api.z.ai": "zai",
    "cognitiveservices.azure.com": "azure",
    "generativelanguage.googleapis.com": "gemini",
    "inference.baseten.co": "baseten",
    "integrate.api.nvidia.com": "nvidia_nim",
    "nebius.com": "nebius",
    "openai.azure.com": "azure",
    "openrouter.ai": "openrouter",
    "services.ai.azure.com": "azure",
}


def host_of(arm: Arm) -> str | None:
    """LiteLLM's name of the arm's host; None: no host that it lists."""
    if arm.provider == "litellm":
        return arm.model.partition("/")[0] if "/" in arm.model else None
    return "anthropic" if arm.provider == "anthropic" else _host_at(arm.base_url or "")


@lru_cache(maxsize=1_000)  # it is asked of every arm for every request
def _host_at(base_url: str) -> str | None:
    name = (urlsplit(base_url).hostname or "").lower()
    return next((host for end, host in _HOSTS.items() if name == end or name.endswith(f".{end}")), None)
