"""Reads Gemini requests into a Query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import Field

from service.dialects.gemini.contents import Contents, Instruction
from service.dialects.gemini.fields import Message, has_value
from service.dialects.gemini.generation_config import GenerationConfig, setting_fields, unwrapping
from service.dialects.gemini.generation_config import left_out as settings_left_out
from service.dialects.gemini.messages import Translation, instructions
from service.dialects.gemini.tools import ToolConfig, Tools, tool_fields
from service.dialects.gemini.tools import left_out as tools_left_out
from service.dialects.json_body import read_json, validated
from service.dialects.options import RouterOptions
from service.dialects.received import Received
from service.domain.basics import Json
from service.domain.query import Query
from service.domain.tokens import estimated_tokens
from service.errors import BadRequest

GENERATE, STREAM = "generateContent", "streamGenerateContent"
# Fields that mean nothing to a model.
_LEFT_OUT = ("safety_settings", "labels", "service_tier", "store")


class GenerateContentRequest(Message):
    """A Gemini request, with the router's own options."""

    contents: Contents
    system_instruction: Instruction | None = None
    tools: Tools | None = None
    tool_config: ToolConfig | None = None
    generation_config: GenerationConfig | None = None
    cached_content: str | None = None
    safety_settings: Any = None
    labels: Any = None
    service_tier: Any = None
    store: Any = None
    model: Any = Field(None, description="ignored: the path names the model")
    router: RouterOptions | None = None


class GeminiCountTokensRequest(Message):
    """A request to count: contents alone, or a whole Gemini request."""

    contents: Contents | None = None
    generate_content_request: GenerateContentRequest | None = None


def read_query(raw: bytes, received: Received) -> Query:
    """Read a request body; the path names the model.

    Raises:
        BadRequest: the body is not JSON, or a field breaks its rule; the message names both.
    """
    body = read_json(raw)
    request = validated(GenerateContentRequest, body)
    model, is_stream = received.path["model"], received.path["method"] == STREAM
    is_sse = received.params.get("alt") == "sse"
    chat = translated(request)
    if model:
        chat["model"] = model
    return received.query(
        "gemini",
        {**body, "model": model, "stream": is_stream},
        chat,
        model=model,
        stream=is_stream and is_sse,
        n_prompt_tokens=estimated_tokens(chat),
        max_output_tokens=chat.get("max_tokens"),
        router=request.router,
        form={
            "shows_thoughts": _shows_thoughts(request),
            "is_list": is_stream and not is_sse,
            "unwrapping": unwrapping(request.generation_config or GenerationConfig()),
        },
        notes=tuple(f"{name} is left out: no model is sent it" for name in left_out(request)),
    )


@dataclass(frozen=True, slots=True)
class Input:
    """A request about its input only.

    Args:
        translated: the request in OpenAI's form.
        n_prompt_tokens: an estimate.
    """

    translated: Json
    n_prompt_tokens: int


def read_input(raw: bytes) -> Input:
    """Read the body of a request about its input only. Raises BadRequest."""
    body = read_json(raw)
    count = validated(GeminiCountTokensRequest, body)
    request = count.generate_content_request
    if request is None:
        request = validated(GenerateContentRequest, body)
    chat = translated(request)
    return Input(chat, estimated_tokens(chat))


def translated(request: GenerateContentRequest) -> Json:
    """The Chat Completions request.

    Raises:
        BadRequest: the request asks for something that Chat Completions cannot express.
    """
    if request.cached_content:
        rule = "the router keeps no cached contents; send them with the request"
        raise BadRequest(f"cachedContent: {rule}", param="cachedContent")
    system = [] if request.system_instruction is None else instructions(request.system_instruction.parts)
    messages = [*system, *Translation().messages(request.contents)]
    if all(message["role"] == "system" for message in messages):
        messages.append({"role": "user", "content": ""})  # contents of empty parts have no messages left
    return {
        "messages": messages,
        **tool_fields(request.tools or [], request.tool_config),
        **setting_fields(request.generation_config or GenerationConfig()),
    }


def left_out(request: GenerateContentRequest) -> list[str]:
    """What of the request no model is sent. Raises BadRequest: a tool that Google alone can run."""
    names = [GenerateContentRequest.model_fields[name].alias or name for name in _LEFT_OUT]
    values = [getattr(request, name) for name in _LEFT_OUT]
    return [
        *(name for name, value in zip(names, values, strict=True) if has_value(value)),
        *request.unknown(),
        *tools_left_out(request.tools or []),
        *settings_left_out(request.generation_config or GenerationConfig()),
    ]


def _shows_thoughts(request: GenerateContentRequest) -> bool:
    thinking = request.generation_config and request.generation_config.thinking_config
    return bool(thinking and thinking.include_thoughts)
