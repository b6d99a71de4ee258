"""Reads the body of a Responses request, and translates it into one of Chat Completions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from service.dialects.chat.requests import BYTES_PER_TOKEN
from service.dialects.json_body import read_json, validated
from service.dialects.received import Received
from service.dialects.responses.answers import ADDED_TOOLS, form_of
from service.dialects.responses.body import ResponsesRequest
from service.dialects.responses.history import chat_messages
from service.dialects.responses.items import LEFT_OUT, checked
from service.dialects.responses.tools import Toolbox
from service.domain.basics import Json
from service.domain.query import Query
from service.domain.tokens import FILE_PARTS, FILE_TOKENS
from service.domain.usage import text_bytes
from service.errors import BadRequest

# What the router does not do, and what to do instead.
_REFUSED = {
    "background": "the router answers while the client waits; leave it out",
    "conversation": "the router keeps no conversations; use previous_response_id, or send the whole input",
    "moderation": "the router moderates no response; call /v1/moderations instead",
    "prompt": "the router keeps no prompt templates; send instructions and input",
}
# The same in both dialects.
_SAME = (
    "model",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "stream",
    "temperature",
    "top_p",
    "user",
)
_NOT_ABOUT_THE_ANSWER = frozenset({"client_metadata", "context_management", "include", "metadata", "store"})
# Fields of Chat Completions that this dialect has other words for, or that it answers once.
_OTHER_WORDS = frozenset({"messages", "n", "functions", "function_call", "response_format", "max_tokens"})


@dataclass(frozen=True, slots=True)
class Translation:
    """A Responses request as one of Chat Completions.

    Args:
        notes: what of the request it leaves out.
    """

    body: Json
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """A request whose fields and items keep their rules.

    Args:
        items: its own items, in full as far as they are known.
        earlier: the items of the responses that it continues.
    """

    body: Json
    request: ResponsesRequest
    items: tuple[Json, ...]
    earlier: tuple[Json, ...] = ()

    @property
    def previous_id(self) -> str | None:
        """The response that it continues."""
        return self.request.previous_response_id

    @property
    def wants_storage(self) -> bool:
        return self.request.store is not False

    @property
    def references(self) -> tuple[str, ...]:
        """The ids of items that it does not send."""
        return tuple(item["id"] for item in self.items if item["type"] == "item_reference")

    def continuing(self, earlier: Sequence[Json], referenced: Mapping[str, Json]) -> ReadRequest:
        """The request with the earlier items, and with the items that its references stand for."""
        items = (
            referenced.get(item["id"], item) if item["type"] == "item_reference" else item
            for item in self.items
        )
        return replace(self, items=tuple(items), earlier=tuple(earlier))


def read_request(raw: bytes) -> ReadRequest:
    """Read a request body.

    Raises:
        BadRequest: the body is not JSON, or a field breaks its rule; the message names both.
    """
    body = read_json(raw)
    request = validated(ResponsesRequest, body)
    _refuse_what_is_not_offered(body)
    if request.input is None and request.previous_response_id is None:
        raise BadRequest("input: field is required", param="input")
    return ReadRequest(body, request, tuple(_own_items(body)))


def input_of(read: ReadRequest) -> tuple[Json, int]:
    """The input of a request in OpenAI's form, and the estimate of its tokens. Raises as `query_of` does."""
    chat = translated(read.body, [*read.earlier, *read.items], n_earlier=len(read.earlier)).body
    return chat, _prompt_tokens(chat)


def query_of(read: ReadRequest, received: Received, *, stores: bool = False) -> Query:
    """The query of a request.

    Args:
        stores: the response will be stored.

    Raises:
        BadRequest: a part, a tool or the choice of one breaks a rule, or an item is not known.
    """
    body, request, conversation = read.body, read.request, [*read.earlier, *read.items]
    translation = translated(body, conversation, n_earlier=len(read.earlier))
    return received.query(
        "responses",
        body,
        translation.body,
        model=request.model,
        stream=bool(request.stream),
        n_prompt_tokens=_prompt_tokens(translation.body),
        max_output_tokens=request.max_output_tokens,
        router=request.router,
        form=form_of(body) | {"store": stores, ADDED_TOOLS: _tools_in(conversation)},
        notes=translation.notes,
    )


def _prompt_tokens(chat: Json) -> int:
    """Estimate the prompt tokens: UTF-8 bytes / 4, tools and formats included, FILE_TOKENS per file."""
    schemas = [chat.get("tools") or [], chat.get("response_format") or {}]
    n_bytes = text_bytes(chat["messages"]) + len(orjson.dumps(schemas))
    contents = [message["content"] for message in chat["messages"]]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    n_files = sum(part["type"] in FILE_PARTS for part in parts)
    return -(-n_bytes // BYTES_PER_TOKEN) + n_files * FILE_TOKENS


def _own_items(body: Json) -> list[Json]:
    """The checked items of the input; a text is one message of the user. Raises BadRequest."""
    given = body.get("input")
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    return checked(given or [])


def _refuse_what_is_not_offered(body: Json) -> None:
    """Raises BadRequest: the request wants something of OpenAI's service that the router does not do."""
    for name, instead in _REFUSED.items():
        if body.get(name) not in (None, False):
            raise BadRequest(f"{name}: {instead}", param=name)


def translated(body: Json, conversation: Sequence[Json], *, n_earlier: int = 0) -> Translation:
    """Translate a validated request.

    Args:
        conversation: the items of the earlier responses and those of the input, checked.
        n_earlier: how many are not of the input.

    Raises:
        BadRequest: an item, a tool or the choice of one breaks a rule.
    """
    toolbox = Toolbox([*(body.get("tools") or []), *_tools_in(conversation)])
    said = [item for item in conversation if item["type"] != "additional_tools"]
    messages = [*_instructions(body), *chat_messages(said, toolbox, n_earlier=n_earlier)]
    if not messages:
        raise BadRequest("input: must have at least one message", param="input")
    chat = _unknown(body) | {name: body[name] for name in _SAME if body.get(name) is not None}
    chat |= {"messages": messages, **toolbox.choice(body.get("tool_choice")), **_options(body)}
    if body.get("parallel_tool_calls") is False and "tools" in chat:
        chat["parallel_tool_calls"] = False  # true is what every model does without it
    kinds = dict.fromkeys([*toolbox.left_out, *(i["type"] for i in said if i["type"] in LEFT_OUT)])
    return Translation(chat, (*(f"left out: {kind}" for kind in kinds), *_ignored(body)))


def _tools_in(conversation: Sequence[Json]) -> list[Json]:
    """The tools that items add to those of the request."""
    return [tool for item in conversation if item["type"] == "additional_tools" for tool in item["tools"]]


def _unknown(body: Json) -> Json:
    """The fields of neither dialect, for arms that know them."""
    known = ResponsesRequest.model_fields.keys() | _REFUSED.keys() | _NOT_ABOUT_THE_ANSWER | _OTHER_WORDS
    return {name: value for name, value in body.items() if name not in known}


def _instructions(body: Json) -> list[Json]:
    instructions = body.get("instructions")
    if isinstance(instructions, list):
        return chat_messages(checked(instructions, "instructions"), Toolbox([]), "instructions")
    return [{"role": "system", "content": instructions}] if instructions else []


def _options(body: Json) -> Json:
    """The fields that have another name or place in Chat Completions."""
    text, reasoning = body.get("text") or {}, body.get("reasoning") or {}
    logprobs = body.get("top_logprobs")
    options = {
        "max_tokens": body.get("max_output_tokens"),
        "reasoning_effort": reasoning.get("effort"),
        "verbosity": text.get("verbosity"),
        "response_format": _response_format(text.get("format") or {}),
        "top_logprobs": logprobs,
        "logprobs": True
        if logprobs or "message.output_text.logprobs" in (body.get("include") or [])
        else None,
    }
    return {name: value for name, value in options.items() if value is not None}


def _response_format(form: Json) -> Json | None:
    match form.get("type"):
        case "json_schema":
            named = ("name", "schema", "strict", "description")
            json_schema = {name: form[name] for name in named if form.get(name) is not None}
            return {"type": "json_schema", "json_schema": json_schema}
        case "json_object":
            return {"type": "json_object"}
    return None


def _ignored(body: Json) -> list[str]:
    """Wishes that the router does not follow, for the log."""
    wishes: dict[str, Any] = {"truncation": "auto"}
    ignored = [f"ignored: {name} {value}" for name, value in wishes.items() if body.get(name) == value]
    return [
        *ignored,
        *(f"ignored: {name}" for name in ("context_management", "max_tool_calls") if body.get(name)),
    ]
