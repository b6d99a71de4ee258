"""What a model refuses, by vendor and generation, in the vendor's words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from service.domain.basics import Json

OPENAI_LIMITS = {"gpt-4.1": 32_768, "gpt-5.4": 128_000}
CLAUDE_LIMITS = {"claude-haiku-4-5": 64_000, "claude-opus-4-8": 128_000}
MISTRAL_FIELDS = """
    model messages temperature top_p max_tokens stream stop random_seed response_format tools tool_choice
    presence_penalty frequency_penalty n prediction parallel_tool_calls prompt_mode safe_prompt
"""
CLAUDE_FIELDS = """
    model messages max_tokens system metadata stop_sequences stream temperature top_k top_p thinking tools
    tool_choice output_config output_format context_management service_tier container mcp_servers
    cache_control
"""
TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
CLAUDE_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
SAMPLING = ("temperature", "top_p")
CACHE_MARKS = 4


@dataclass(frozen=True)
class Refusal:
    message: str
    param: str | None = None
    code: str | None = None
    status: int = 400


def refusal(model: str, body: Json) -> Refusal | None:
    """The first thing that the model refuses in a body of its vendor's form; None: nothing."""
    return next(_refusals(model, body), None)


def _refusals(model: str, body: Json) -> Iterator[Refusal]:
    if model.startswith("gpt-"):
        yield from _by_openai(model, body)
    elif model.startswith("mistral-"):
        yield from _by_mistral(body)
    elif model.startswith("qwen"):
        yield from _by_vllm(body)
    elif model.startswith("claude-"):
        yield from _by_anthropic(model, body)


def _by_openai(model: str, body: Json) -> Iterator[Refusal]:
    yield from _of_tools(body)
    if model.startswith("gpt-5"):
        yield from _by_gpt_5(model, body)
    elif body.get("reasoning_effort") is not None:
        yield Refusal("Unrecognized request argument supplied: reasoning_effort")
    limit = OPENAI_LIMITS.get(model, 16_384)
    for name in ("max_tokens", "max_completion_tokens"):
        if (body.get(name) or 0) > limit:
            yield Refusal(
                f"{name} is too large: {body[name]}. This model supports at most {limit} completion tokens, "
                f"whereas you provided {body[name]}.",
                name,
                "invalid_value",
            )


def _of_tools(body: Json) -> Iterator[Refusal]:
    for index, tool in enumerate(body.get("tools") or []):
        function = tool.get("function") or {}
        name, parameters = function.get("name", ""), function.get("parameters")
        if not TOOL_NAME.fullmatch(name):
            yield Refusal(
                f"Invalid 'tools[{index}].function.name': string does not match pattern. Expected a string "
                "that matches the pattern '^[a-zA-Z0-9_-]+$'.",
                f"tools[{index}].function.name",
                "invalid_value",
            )
        if parameters is not None and parameters.get("type") == "object" and "properties" not in parameters:
            yield Refusal(
                f"Invalid schema for function '{name}': In context=(), object schema missing properties.",
                f"tools[{index}].function.parameters",
                "invalid_function_parameters",
            )


def _by_gpt_5(model: str, body: Json) -> Iterator[Refusal]:
    if body.get("max_tokens") is not None:
        yield Refusal(
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
            "max_tokens",
            "unsupported_parameter",
        )
    for name in SAMPLING:
        if body.get(name) not in (None, 1):
            yield Refusal(
                f"Unsupported value: '{name}' does not support {body[name]} with this model. "
                "Only the default (1) value is supported.",
                name,
                "unsupported_value",
            )
    if body.get("stop"):
        yield Refusal(
            "Unsupported parameter: 'stop' is not supported with this model.",
            "stop",
            "unsupported_parameter",
        )
    if body.get("tools") and body.get("reasoning_effort") not in (None, "none"):
        yield Refusal(
            f"Function tools with reasoning_effort are not supported for {model} in /v1/chat/completions. "
            "Please use /v1/responses instead.",
            "reasoning_effort",
        )


def _by_mistral(body: Json) -> Iterator[Refusal]:
    for name in body:
        if name not in MISTRAL_FIELDS.split():
            yield Refusal(f"Extra inputs are not permitted: body.{name}", name, "extra_forbidden", 422)


def _by_vllm(body: Json) -> Iterator[Refusal]:
    roles = [message["role"] for message in body["messages"]]
    if "developer" in roles:
        yield Refusal("Unexpected message role.")
    if "system" in roles[1:]:
        yield Refusal("System message must be at the beginning.")


def _by_anthropic(model: str, body: Json) -> Iterator[Refusal]:
    for name in body:
        if name not in CLAUDE_FIELDS.split():
            yield Refusal(f"{name}: Extra inputs are not permitted")
    limit = CLAUDE_LIMITS.get(model, 64_000)
    if body["max_tokens"] > limit:
        yield Refusal(
            f"max_tokens: {body['max_tokens']} > {limit}, which is the maximum allowed number of output "
            f"tokens for {model}"
        )
    for index, tool in enumerate(body.get("tools") or []):
        if not CLAUDE_TOOL_NAME.fullmatch(tool["name"]):
            yield Refusal(
                f"tools.{index}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
            )
    if (marks := _cache_marks(body)) > CACHE_MARKS:
        yield Refusal(f"A maximum of 4 blocks with cache_control may be provided. Found {marks}.")
    if not any(m["role"] == "user" for m in body["messages"]):
        yield Refusal("messages: at least one message is required")
    yield from _of_thinking(body)
    yield from (_by_claude_4_5(model, body) if "-4-5" in model else _by_claude_4_8(body))
    if all(body.get(name) is not None for name in SAMPLING):
        yield Refusal(
            "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
        )


def _of_thinking(body: Json) -> Iterator[Refusal]:
    thinking = body.get("thinking") or {}
    if thinking.get("type") != "enabled":
        return
    if body["max_tokens"] <= thinking.get("budget_tokens", 0):
        yield Refusal("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if body.get("temperature") not in (None, 1):
        yield Refusal("`temperature` may only be set to 1 when thinking is enabled.")
    if (body.get("tool_choice") or {}).get("type") in ("any", "tool"):
        yield Refusal("Thinking may not be enabled when tool_choice forces tool use.")


def _by_claude_4_5(model: str, body: Json) -> Iterator[Refusal]:
    if (body.get("thinking") or {}).get("type") == "adaptive":
        yield Refusal("adaptive thinking is not supported on this model")
    if (body.get("output_config") or {}).get("effort") and "opus" not in model:
        yield Refusal("This model does not support the effort parameter.")
    if any(message["role"] == "system" for message in body["messages"]):
        yield Refusal(
            'messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter, '
            'not "system" as an input message role.'
        )


def _by_claude_4_8(body: Json) -> Iterator[Refusal]:
    if (body.get("thinking") or {}).get("type") == "enabled":
        yield Refusal(
            '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and '
            '"output_config.effort" to control thinking behavior.'
        )
    if body.get("temperature") not in (None, 1):
        yield Refusal("`temperature` is deprecated for this model.")


def _cache_marks(body: Json) -> int:
    blocks = [*(body.get("tools") or []), *_blocks(body.get("system"))]
    for message in body["messages"]:
        blocks += _blocks(message["content"])
    return sum("cache_control" in block for block in blocks)


def _blocks(content: object) -> list[Json]:
    return content if isinstance(content, list) else []
