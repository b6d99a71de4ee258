"""Reads OpenAI Chat Completions requests into a Query."""

from __future__ import annotations

from typing import Annotated, Literal

import orjson
from pydantic import AfterValidator, Field, model_validator

from service.dialects.json_body import Name, Open, items, read_json, validated
from service.dialects.options import RouterOptions
from service.dialects.received import Received
from service.domain.basics import Json
from service.domain.query import Query
from service.domain.tokens import FILE_PARTS, FILE_TOKENS

BYTES_PER_TOKEN = 4
MAX_MESSAGES = 10_000
MAX_PARTS = 10_000  # of one message
MAX_TOOLS = 2_000
MAX_STOPS = 1_000


def _of_a_kind(part: Json) -> Json:
    if not isinstance(part.get("type", ""), str):
        raise ValueError("type must be a string")
    return part


Part = Annotated[Json, AfterValidator(_of_a_kind)]


class Message(Open):
    """One message; the content of an assistant's message can be null."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | Annotated[list[Part], items(MAX_PARTS)] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Message:
        if self.content is None and self.role != "assistant":
            raise ValueError(f"content is required for role {self.role}")
        return self


class Function(Open):
    name: str
    parameters: Json | None = None


class Tool(Open):
    """A tool; tools of unknown types are accepted."""

    type: str | None = None
    function: Function | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> Tool:
        if self.type == "function" and self.function is None:
            raise ValueError("function is required for type function")
        return self


class JsonSchema(Open):
    name: str
    rules: Json | None = Field(None, alias="schema")


class ResponseFormat(Open):
    """The format of an answer; formats of unknown types are accepted."""

    type: str
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> ResponseFormat:
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError("json_schema is required for type json_schema")
        return self


class StreamOptions(Open):
    include_usage: bool = False


class ChatCompletionRequest(Open):
    """A Chat Completions request, with the router's own options."""

    model: Name | None = Field(None, description="absent, auto or router/auto: the router chooses")
    messages: Annotated[list[Message], items(MAX_MESSAGES, least=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    tools: Annotated[list[Tool], items(MAX_TOOLS)] | None = None
    stop: str | Annotated[list[str], items(MAX_STOPS)] | None = None
    response_format: ResponseFormat | None = None
    web_search_options: Json | None = None
    router: RouterOptions | None = Field(None, strict=False)


def read_query(raw: bytes, received: Received) -> Query:
    """Read a request body.

    Raises:
        BadRequest: the body is not JSON, or a field breaks its rule; the message names both.
    """
    body = read_json(raw)
    request = validated(ChatCompletionRequest, body)
    return received.query(
        "openai",
        body,
        {name: value for name, value in body.items() if name != "router"},
        model=request.model,
        stream=bool(request.stream),
        n_prompt_tokens=prompt_tokens(request, body),
        max_output_tokens=request.max_completion_tokens or request.max_tokens,
        router=request.router,
    )


def _text(message: Message) -> str:
    if isinstance(message.content, str):
        return message.content
    parts = message.content or []
    return "\n".join(p["text"] for p in parts if p.get("type") == "text" and isinstance(p.get("text"), str))


def prompt_tokens(request: ChatCompletionRequest, body: Json) -> int:
    """Estimate the prompt tokens: UTF-8 bytes / 4, tools and formats included, FILE_TOKENS per file."""
    n_bytes = n_files = 0
    extras = []
    for message in request.messages:
        n_bytes += len(_text(message).encode())
        if isinstance(message.content, list):
            n_files += sum(str(part.get("type")) in FILE_PARTS for part in message.content)
        if message.model_extra:
            extras.append(message.model_extra)
    n_bytes += len(orjson.dumps([body.get("tools") or [], body.get("response_format") or {}, extras]))
    return -(-n_bytes // BYTES_PER_TOKEN) + n_files * FILE_TOKENS
