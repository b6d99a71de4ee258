"""The request that an OpenAI-compatible server gets."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.reasoning import effort_of
from service.providers.tool_ids import with_nine_letters

ENDPOINT = "/chat/completions"
OPENAI_BASE_URL = "https://api.openai.com/v1"
MISTRAL_HOST = "api.mistral.ai"

# Every documented field of the request; other fields go up only if the arm lists them.
# The router sets `stream` and `model`.
FIELDS = frozenset(
    {
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "metadata",
        "modalities",
        "moderation",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
        "web_search_options",
    }
)
OPENROUTERS = frozenset({"reasoning"})  # which other servers know too, or refuse


def base_url(arm: Arm) -> str:
    """The base URL; one that ends with the endpoint is of a server that answers at its root."""
    return (arm.base_url or OPENAI_BASE_URL).rstrip("/").removesuffix(ENDPOINT)


def upstream_body(arm: Arm, body: Json, *, stream: bool) -> Json:
    """The fields that the server knows, in its terms."""
    known = FIELDS | OPENROUTERS | arm.extra_fields
    upstream = {name: value for name, value in body.items() if name in known}
    upstream["model"] = arm.model
    upstream["stream"] = stream
    upstream.pop("stream_options", None)
    if stream:
        upstream["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    if isinstance(upstream.get("tools"), list):
        upstream["tools"] = [with_properties(tool) for tool in upstream["tools"]]
    if urlsplit(base_url(arm)).hostname == MISTRAL_HOST:
        upstream["messages"] = with_nine_letters(body["messages"])
    return _in_openais_terms(upstream) if base_url(arm) == OPENAI_BASE_URL else upstream


def _in_openais_terms(upstream: Json) -> Json:
    """The body for OpenAI itself, which knows neither OpenRouter's `reasoning` nor, always, `max_tokens`."""
    upstream = with_effort(upstream)
    if "max_tokens" in upstream:
        # OpenAI's reasoning models reject the old name, and all its models know the new one.
        # Many other servers know only the old name.
        upstream.setdefault("max_completion_tokens", upstream.pop("max_tokens"))
    return upstream


def with_effort(body: Json) -> Json:
    """The body with OpenAI's effort in place of OpenRouter's `reasoning`; the same object if it has none."""
    if "reasoning" not in body:
        return body
    rest = {name: value for name, value in body.items() if name != "reasoning"}
    effort = effort_of(body["reasoning"])
    return rest if effort is None or "reasoning_effort" in rest else {**rest, "reasoning_effort": effort}


def with_properties(tool: Any) -> Any:
    """The tool with `properties` in the schema of its arguments: OpenAI demands them, Anthropic does not."""
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict):
        return tool
    schema = function.get("parameters")
    if not isinstance(schema, dict) or "properties" in schema or schema.get("type", "object") != "object":
        return tool
    if schema.keys() & {"anyOf", "oneOf", "allOf", "$ref"}:
        return tool
    return {**tool, "function": {**function, "parameters": {"type": "object", "properties": {}} | schema}}
