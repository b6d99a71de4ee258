"""Reads Anthropic Messages requests into a Query."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field, ValidationError, model_validator

from service.dialects.chat.requests import MAX_MESSAGES, MAX_PARTS, MAX_STOPS, MAX_TOOLS
from service.dialects.json_body import Name, Open, field_path, invalid, items, read_json, validated
from service.dialects.messages.translation import translated
from service.dialects.options import RouterOptions
from service.dialects.received import Received
from service.domain.basics import Json
from service.domain.query import Native, Query
from service.domain.tokens import FILE_TOKENS
from service.errors import BadRequest

BYTES_PER_TOKEN = 4
DEFAULT_VERSION = "2023-06-01"

_REQUIRED: Mapping[str, Mapping[str, type]] = {
    "text": {"text": str},
    "image": {"source": dict},
    "document": {"source": dict},
    "tool_use": {"id": str, "name": str, "input": dict},
    "tool_result": {"tool_use_id": str},
}
_SOURCES: Mapping[str, tuple[str, ...]] = {
    "base64": ("media_type", "data"),
    "url": ("url",),
    "text": ("data",),
}
_NOT_TEXT = frozenset({"type", "role", "id", "tool_use_id", "signature", "cache_control"})


class Block(Open):
    """One content block; blocks of unknown types are accepted."""

    type: str

    @model_validator(mode="after")
    def _is_complete(self) -> Block:
        extra = self.model_extra or {}
        for name, kind in _REQUIRED.get(self.type, {}).items():
            if not isinstance(extra.get(name), kind):
                wanted = "an object" if kind is dict else "a string"
                raise ValueError(f"{name} is required for type {self.type}, and must be {wanted}")
        source = extra.get("source")
        kind_of_source = str(source.get("type")) if isinstance(source, dict) else ""
        for name in _SOURCES.get(kind_of_source, ()):
            if not isinstance(extra["source"].get(name), str):
                raise ValueError(f"source.{name} is required, and must be a string")
        return self


Blocks = Annotated[list[Block], items(MAX_PARTS)]


class SystemBlock(Open):
    type: Literal["text"]
    text: str


class ToolResult(Open):
    content: str | Blocks | None = None


class Turn(Open):
    role: Literal["user", "assistant", "system"]
    content: str | Blocks


class Tool(Open):
    type: str | None = None
    name: str | None = None
    input_schema: Json | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> Tool:
        if self.type in (None, "custom") and (self.name is None or self.input_schema is None):
            raise ValueError("name and input_schema are required")
        return self


class ToolChoice(Open):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool = False

    @model_validator(mode="after")
    def _names_a_tool(self) -> ToolChoice:
        if self.type == "tool" and self.name is None:
            raise ValueError("name is required for type tool")
        return self


class Thinking(Open):
    type: str
    budget_tokens: int | None = None


class OutputConfig(Open):
    effort: str | None = None
    format: Json | None = None


class CountTokensRequest(Open):
    """The fields of a Messages request that count as input."""

    model: Name | None = Field(None, description="absent, auto or router/auto: the router chooses")
    messages: Annotated[list[Turn], items(MAX_MESSAGES, least=1)]
    system: str | Annotated[list[SystemBlock], items(MAX_PARTS)] | None = None
    tools: Annotated[list[Tool], items(MAX_TOOLS)] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> CountTokensRequest:
        if self.tool_choice is not None and not self.tools:
            raise ValueError("tool_choice needs tools")
        return self


class MessagesRequest(CountTokensRequest):
    """A Messages request, with the router's own options."""

    max_tokens: Annotated[int, Field(ge=0)]
    stream: bool | None = None
    stop_sequences: Annotated[list[str], items(MAX_STOPS)] | None = None
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    router: RouterOptions | None = Field(None, strict=False)


def read_query(raw: bytes, received: Received) -> Query:
    """Read a request body.

    Raises:
        BadRequest: the body is not JSON, or a field breaks its rule; the message names both.
    """
    body = read_json(raw)
    request = validated(MessagesRequest, body)
    _check_tool_results(request.messages)
    forwarded = {name: value for name, value in body.items() if name != "router"}
    chat, needs = translated(forwarded)
    return received.query(
        "anthropic",
        body,
        chat,
        model=request.model,
        stream=bool(request.stream),
        n_prompt_tokens=prompt_tokens(body),
        max_output_tokens=request.max_tokens or None,
        router=request.router,
        native=Native(forwarded, _forwarded(received.headers), needs),
    )


@dataclass(frozen=True, slots=True)
class Input:
    """A request about its input only.

    Args:
        translated: the request in OpenAI's form.
        n_prompt_tokens: an estimate.
    """

    model: str | None
    translated: Json
    n_prompt_tokens: int


def read_input(raw: bytes) -> Input:
    """Read the body of a request about its input only. Raises BadRequest."""
    body = read_json(raw)
    request = validated(CountTokensRequest, body)
    _check_tool_results(request.messages)
    return Input(request.model, translated(body)[0], prompt_tokens(body))


def _forwarded(headers: Mapping[str, str]) -> Mapping[str, str]:
    """The headers that are passed on to Anthropic unchanged."""
    forwarded = {"anthropic-version": headers.get("anthropic-version", DEFAULT_VERSION)}
    if (beta := headers.get("anthropic-beta")) is not None:
        forwarded["anthropic-beta"] = beta
    return forwarded


def _check_tool_results(turns: list[Turn]) -> None:
    """Check that every tool result follows its tool use and consists of blocks. Raises BadRequest."""
    used: set[str] = set()
    for i, turn in enumerate(turns):
        for j, block in enumerate(turn.content if isinstance(turn.content, list) else []):
            extra = block.model_extra or {}
            if block.type == "tool_use":
                used.add(extra["id"])
            elif block.type == "tool_result":
                _check_tool_result(extra, used, f"messages[{i}].content[{j}]")


def _check_tool_result(result: Json, used: Collection[str], place: str) -> None:
    if result["tool_use_id"] not in used:
        param = f"{place}.tool_use_id"
        raise BadRequest(f"{param}: must be the id of an earlier tool_use block", param=param)
    try:
        ToolResult.model_validate(result)
    except ValidationError as error:
        raise invalid(error, lambda location: f"{place}.{field_path(location)}") from error


def prompt_tokens(body: Json) -> int:
    """Estimate the input tokens: UTF-8 bytes / 4 of system, messages and tools, FILE_TOKENS per file.

    Thinking counts. Signatures and encrypted thinking do not.
    """
    n_bytes = len(orjson.dumps(body["tools"])) if body.get("tools") else 0
    n_files = 0
    pending: list[Any] = [body.get("system"), body["messages"]]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            n_bytes += len(item.encode())
        elif isinstance(item, list):
            pending.extend(item)
        elif isinstance(item, dict) and _is_file(item):
            n_files += 1
        elif isinstance(item, dict) and item.get("type") != "redacted_thinking":
            pending.extend(value for name, value in item.items() if name not in _NOT_TEXT)
    return -(-n_bytes // BYTES_PER_TOKEN) + n_files * FILE_TOKENS


def _is_file(block: Json) -> bool:
    source = block.get("source")
    return isinstance(source, dict) and source.get("type") in ("base64", "url", "file")
