"""Any value in any place of a request is read or refused by name, and never a fault of the router."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import orjson
import pytest

from service.dialects.responses.answers import ResponseForm
from service.dialects.responses.events import whole_response
from service.dialects.responses.input_items import page, with_ids
from service.dialects.responses.requests import read_request
from service.domain.basics import Json
from service.errors import BadRequest
from tests.service.dialects.responses.shared import NOW, WEATHER, assistant, call, read, result, user
from tests.service.dialects.responses.test_tools import AGENTS, PATCH

STRANGE: tuple[Any, ...] = (
    None,
    0,
    -1,
    1.5,
    True,
    "",
    "x",
    [],
    [[]],
    [None],
    {},
    {"a": [1]},
    ["x"],
    "\ud7ff\U0001f642",
)
BODY: Json = {
    "model": "auto",
    "instructions": "Be brief.",
    "input": [
        user("Hi", {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "auto"}),
        {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_file", "file_data": "x", "filename": "a"}],
        },
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "x"}]},
        assistant("Hello."),
        call("a"),
        result("a", [{"type": "input_text", "text": "x"}]),
        {"type": "custom_tool_call", "call_id": "b", "name": "patch", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "b", "output": "x"},
        {"type": "shell_call", "call_id": "c", "action": {"commands": ["ls"]}},
        {"type": "shell_call_output", "call_id": "c", "output": [{"stdout": "x"}]},
        {
            "type": "local_shell_call",
            "call_id": "d",
            "action": {"type": "exec", "command": ["ls"], "env": {}},
        },
        {"type": "local_shell_call_output", "id": "d", "output": "x"},
        {"type": "apply_patch_call", "call_id": "e", "operation": {"type": "delete_file", "path": "a"}},
        {"type": "apply_patch_call_output", "call_id": "e", "status": "completed", "output": "x"},
        {
            "type": "mcp_call",
            "id": "f",
            "name": "find",
            "server_label": "docs",
            "arguments": "{}",
            "output": "x",
        },
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "additional_tools", "tools": [{"type": "custom", "name": "other"}]},
        user("And?"),
    ],
    "tools": [
        WEATHER,
        PATCH,
        AGENTS,
        {"type": "shell", "environment": {"type": "local"}},
        {"type": "web_search"},
    ],
    "tool_choice": {
        "type": "allowed_tools",
        "mode": "auto",
        "tools": [
            {"type": "function", "name": "weather"},
            {"type": "function", "name": "wait", "namespace": "agents"},
        ],
    },
    "parallel_tool_calls": False,
    "reasoning": {"effort": "low", "summary": "auto"},
    "text": {
        "format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}},
        "verbosity": "low",
    },
    "include": ["reasoning.encrypted_content"],
    "metadata": {"a": "b"},
    "temperature": 1.0,
    "top_logprobs": 2,
    "max_output_tokens": 10,
    "store": True,
    "truncation": "auto",
    "stream_options": {"include_obfuscation": False},
    "client_metadata": {"session_id": "x"},
    "prompt_cache_key": "k",
}


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in inner:
        yield from places(child, (*path, name))


def mutants(path: tuple[str | int, ...]) -> Iterator[Json]:
    """The body with something strange in one place, and without the place."""
    for value in (*STRANGE, ...):
        body = deepcopy(BODY)
        holder: Any = body
        for name in path[:-1]:
            holder = holder[name]
        if value is ...:
            del holder[path[-1]]
        else:
            holder[path[-1]] = value
        yield body


def answered(body: Json) -> None:
    """Read the request, and write an answer to it as far as that depends on the request."""
    query = read(**body)
    orjson.dumps(query.body)
    message = {"content": "x", "tool_calls": [{"id": "1", "function": {"name": "shell", "arguments": "{}"}}]}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    orjson.dumps(whole_response({"model": "m", "choices": [choice]}, ResponseForm(query.form, "0" * 32, NOW)))
    items = with_ids(read_request(orjson.dumps(body)).items, "0" * 32)
    orjson.dumps(page(items, order="desc", limit=100, after=None))


def refusal_of(body: Json) -> BadRequest | None:
    try:
        answered(body)
    except BadRequest as error:
        return error
    return None


def test_the_whole_body_is_read() -> None:
    answered(BODY)


@pytest.mark.parametrize("path", list(places(BODY)), ids=lambda path: ".".join(map(str, path)))
def test_any_value_in_any_place_is_read_or_refused(path: tuple[str | int, ...]) -> None:
    refusals = [refusal for body in mutants(path) if (refusal := refusal_of(body)) is not None]

    assert all(refusal.param for refusal in refusals)
    assert all(len(str(refusal)) < 1_000 for refusal in refusals)
