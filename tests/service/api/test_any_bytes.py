"""Any bytes as a body get an answer or a 4xx of the dialect, on every path that reads one."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.hostile import SHAPES
from tests.service.world import World

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))  # `make fuzz` tries more
JSON = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
SCHEMA = {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}
FUNCTION = {"name": "f", "description": "d", "parameters": SCHEMA}
SEEDS: dict[str, Any] = {
    "/v1/chat/completions": {
        "model": "auto",
        "messages": [
            {"role": "system", "content": "s"},
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}],
            },
            {
                "role": "assistant",
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "r"},
            {"role": "user", "name": "n", "content": [{"type": "text", "text": "Hi"}]},
        ],
        "tools": [{"type": "function", "function": FUNCTION}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "f", "schema": SCHEMA}},
        "stop": ["x"],
        "user": "u",
        "metadata": {"session_id": "s"},
        "reasoning_effort": "low",
        "thinking": {"type": "enabled"},
        "logit_bias": {"1": 1},
        "router": {"models": ["small"], "session_id": "s"},
    },
    "/v1/completions": {"prompt": "Hi", "stop": ["x"]},
    "/v1/messages": {
        "max_tokens": 9,
        "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {
                "role": "user",
                "content": [{"type": "image", "source": {"type": "url", "url": "https://a.example/b"}}],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "t", "signature": "s"},
                    {"type": "tool_use", "id": "c", "name": "f", "input": {}},
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "r"}]},
        ],
        "tools": [{"name": "f", "input_schema": SCHEMA}],
        "tool_choice": {"type": "tool", "name": "f"},
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "metadata": {"user_id": "u"},
        "stop_sequences": ["x"],
    },
    "/v1/messages/count_tokens": {"messages": [{"role": "user", "content": "Hi"}]},
    "/v1/responses": {
        "instructions": "i",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
            {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "e"},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "o"},
            {"role": "user", "content": "Hi"},
        ],
        "tools": [{"type": "function", **FUNCTION}],
        "tool_choice": {"type": "function", "name": "f"},
        "text": {"format": {"type": "json_schema", "name": "f", "schema": SCHEMA}},
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "metadata": {"a": "b"},
    },
    "/v1beta/models/auto:generateContent": {
        "contents": [
            {
                "role": "user",
                "parts": [{"text": "Hi"}, {"inlineData": {"mimeType": "image/png", "data": "AA=="}}],
            },
            {
                "role": "model",
                "parts": [{"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "AA=="}],
            },
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]},
        ],
        "systemInstruction": {"parts": [{"text": "s"}]},
        "tools": [{"functionDeclarations": [FUNCTION]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "generationConfig": {
            "stopSequences": ["x"],
            "responseMimeType": "application/json",
            "responseSchema": {"type": "OBJECT", "properties": {"x": {"type": "STRING"}}},
            "thinkingConfig": {"thinkingBudget": 100},
        },
    },
    "/v1beta/models/auto:countTokens": {"contents": [{"parts": [{"text": "Hi"}]}]},
    "/v1/embeddings": {"model": "router-minilm", "input": ["Hi"], "dimensions": 4},
    "/v1/moderations": {"input": "Hi"},
    "/v1/route": {"messages": [{"role": "user", "content": "Hi"}], "router": {"models": ["small"]}},
    "/feedback": {"request_id": "r", "score": 1},
    "/admin/models": {"id": "a", "aliases": ["b"]},
    "/admin/calibrations": {"prompts": ["Hi"], "grader": "exact"},
    "/mcp": {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "route", "arguments": {}}},
}
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["user", "assistant", "tool", "text", "function", "image_url", "auto", "http://[", "\x00"]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def places(value: Any) -> list[list[Any]]:
    """The ways to every value inside a JSON value."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [[], *([step, *way] for step, inner in steps for way in places(inner))]


@st.composite
def changed(draw: st.DrawFn, seed: Any) -> bytes:
    """A body with one of its values replaced, then perhaps with bytes cut out or put in."""
    value = orjson.loads(orjson.dumps(seed))
    whole = [value]
    way: list[Any] = [0, *draw(st.sampled_from(places(value)))]
    last = way.pop()
    place: Any = whole
    for step in way:
        place = place[step]
    place[last] = draw(VALUES)
    body = orjson.dumps(whole[0], option=orjson.OPT_PASSTHROUGH_SUBCLASS) if _is_json(whole[0]) else b"NaN"
    if not draw(st.booleans()):
        return body
    start, end = sorted((draw(st.integers(0, len(body))), draw(st.integers(0, len(body)))))
    return body[:start] + draw(st.binary(max_size=12)) + body[end:]


def _is_json(value: Any) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:  # an integer of more than 64 bits, a lone surrogate
        return False
    return True


def test_every_path_with_a_hostile_shape_has_a_seed() -> None:
    assert {path for path, _ in SHAPES.values()} - set(SEEDS) <= {"/v1/messages/chat-template"}


@pytest.mark.parametrize("path", SEEDS)
async def test_any_body_gets_an_answer_or_a_4xx(world: World, path: str) -> None:
    loop = asyncio.get_running_loop()
    statuses = set()

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(body=changed(SEEDS[path]) | st.binary(max_size=64))
    def check(body: bytes) -> None:
        sent = asyncio.run_coroutine_threadsafe(world.http.post(path, content=body, headers=JSON), loop)
        response = sent.result(60)
        statuses.add(response.status_code)
        assert response.status_code < 500 or response.status_code == 501, (body, response.text)
        if response.status_code >= 400:
            assert response.json().get("error"), (body, response.text)

    await asyncio.to_thread(check)

    assert 400 in statuses


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": [{"type": ["text"]}]}]}),
        (
            "/v1/chat/completions",
            {
                "messages": [{"role": "user", "content": "Hi"}],
                "tool_choice": {"type": []},
                "thinking": {"type": {}},
            },
        ),
        (
            "/v1beta/models/auto:generateContent",
            {"tools": [{"functionDeclarations": [{"name": "f", "parameters": {"type": {}}}]}]},
        ),
        (
            "/v1beta/models/auto:generateContent",
            {"generationConfig": {"responseSchema": {"type": "ARRAY", "maxItems": "9" * 5_000}}},
        ),
    ],
    ids=["part", "choice", "type of a schema", "digits"],
)
async def test_what_once_was_a_500_is_none(world: World, path: str, fields: dict[str, Any]) -> None:
    response = await world.http.post(path, json=SEEDS[path] | fields)

    assert response.status_code in {200, 400}
