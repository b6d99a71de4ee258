"""Neighbours of the cases: the same kinds of fault in other requests, in both dialects, streamed and not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from service.domain.basics import Json
from tests.service.cases.case import Case
from tests.service.cases.played import Answered, Stage, staged

WEATHER: Json = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
OPENAI_TOOLS: list[Json] = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}]
TOOLS: list[Json] = [{"name": "weather", "input_schema": WEATHER}]
ASK: Json = {"role": "user", "content": "Weather in Lisbon?"}
THINKING: Json = {"type": "enabled", "budget_tokens": 2000}
MISSING = {
    "error": {
        "message": "thinking is enabled but reasoning_content is missing in assistant tool call message"
    }
}
CLAUDE = {"model_name": "claude-sonnet-4-5-20250929", "api_key_env": "FAKE_KEY"}
CLAUDE_REFUSES = {
    "type": "error",
    "error": {
        "type": "invalid_request_error",
        "message": "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, "
        "but found `tool_use`.",
    },
}
CLAUDE_ANSWERS = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "Sunny."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 40, "output_tokens": 5},
}


def completion(message: Json, finish_reason: str = "stop") -> Json:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish_reason}
    usage = {"prompt_tokens": 40, "completion_tokens": 12, "total_tokens": 52}
    return {
        "id": "c-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": usage,
    }


SUNNY = completion({"content": "Sunny."})


def chunks(*deltas: Json, finish_reason: str = "stop") -> list[Any]:
    frame = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    spoken = [{**frame, "choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in deltas]
    ended = {**frame, "choices": [{"index": 0, "delta": {}, "finish_reason": finish_reason}]}
    return [*spoken, ended, "[DONE]"]


def case(path: str, body: Json, *rules: Json, provider: str = "openai", arm: Json | None = None) -> Case:
    request = {"path": path, "headers": {}, "body": body}
    return Case("variant", provider, arm or {}, (), request, {"": rules})


def messages(*turns: Json, **fields: Any) -> Json:
    return {"max_tokens": 4000, "messages": list(turns), **fields}


def called(call_id: str, **fields: Any) -> Json:
    function = {"name": "weather", "arguments": '{"city":"Lisbon"}'}
    call = {"id": call_id, "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call], **fields}


def result(call_id: str) -> Json:
    return {"role": "tool", "tool_call_id": call_id, "content": "sunny"}


async def ask(stage: Stage, body: Json, request_id: str) -> Answered:
    return await stage.send(orjson.dumps({"model": "variant", **body}), request_id)


# --- reasoning that a model demands back


def calling(stream: bool, **fields: Any) -> Json:
    """A rule of the first turn: the model thinks and calls a tool."""
    call = {**called("functions.weather:0", **fields), "role": "assistant"}
    if not stream:
        return {"when": "no_calls", "json": completion(call, "tool_calls")}
    pieces = [{**call["tool_calls"][0], "index": 0}]
    return {
        "when": "no_calls",
        "sse": chunks({"role": "assistant", **fields}, {"tool_calls": pieces}, finish_reason="tool_calls"),
    }


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_content": "I need it."},
        {"reasoning": "I need it."},
        {"reasoning": "I need it.", "reasoning_details": [{"type": "reasoning.text", "text": "I need it."}]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "I need it."}]}]},
    ],
    ids=["reasoning_content", "reasoning", "reasoning_details", "in parts"],
)
async def test_a_client_of_anthropic_brings_reasoning_and_ids_back(
    tmp_path: Path, stream: bool, fields: Json
) -> None:
    answers = {"sse": chunks({"content": "Sunny."})} if stream else {"json": SUNNY}
    rules = (
        calling(stream, **fields),
        {"when": "call_without_reasoning", "status": 400, "json": MISSING},
        answers,
    )
    first = messages(ASK, tools=TOOLS, thinking=THINKING, stream=stream)
    async with staged(case("/v1/messages", first, *rules), tmp_path) as stage:
        answered = await ask(stage, first, "r-1")
        [use] = answered.tool_uses
        returned = {"type": "tool_result", "tool_use_id": use["id"], "content": "sunny"}
        turns = (
            ASK,
            {"role": "assistant", "content": answered.blocks},
            {"role": "user", "content": [returned]},
        )

        second = await ask(stage, {**first, "messages": list(turns)}, "r-2")

        assert second.spoken == "Sunny."
        sent = stage.asked()[-1]["messages"]
        assert len(stage.asked()) == 2
        assert sent[1]["reasoning_content"] == "I need it."
        assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"] == "functions.weather:0"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fields", [{}, {"reasoning": "I need it."}, {"reasoning_content": "I need it."}])
async def test_a_client_of_openai_is_answered_with_and_without_reasoning(
    tmp_path: Path, stream: bool, fields: Json
) -> None:
    answers = {"sse": chunks({"content": "Sunny."})} if stream else {"json": SUNNY}
    body = {
        "messages": [ASK, called("call_a", **fields), result("call_a")],
        "tools": OPENAI_TOOLS,
        "stream": stream,
    }
    rules = ({"when": "call_without_reasoning", "status": 400, "json": MISSING}, answers)
    async with staged(case("/v1/chat/completions", body, *rules), tmp_path) as stage:
        answered = await stage.ask()

        assert (answered.status, answered.text) == (200, "Sunny.")
        assert stage.asked()[-1]["messages"][1]["reasoning_content"] == "".join(fields.values())
        assert len((await stage.record())["attempts"]) == 1


# --- Claude


@pytest.mark.parametrize("stream", [False, True])
async def test_claude_is_asked_without_thinking_in_a_loop_of_another_model(
    tmp_path: Path, stream: bool
) -> None:
    use = {"type": "tool_use", "id": "call_a", "name": "weather", "input": {"city": "Lisbon"}}
    returned = {"type": "tool_result", "tool_use_id": "call_a", "content": "sunny"}
    of_another = {"type": "thinking", "thinking": "Hm.", "signature": "bGxtLXJvdXRlcg=="}
    turns = (
        ASK,
        {"role": "assistant", "content": [of_another, use]},
        {"role": "user", "content": [returned]},
    )
    body = messages(*turns, tools=TOOLS, thinking=THINKING, stream=stream)
    events = [
        {"type": "message_start", "message": {**CLAUDE_ANSWERS, "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Sunny."}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 5},
        },
        {"type": "message_stop"},
    ]
    answers = {"sse": events} if stream else {"json": CLAUDE_ANSWERS}
    rules = ({"when": "thinking_missing", "status": 400, "json": CLAUDE_REFUSES}, answers)
    async with staged(
        case("/v1/messages", body, *rules, provider="anthropic", arm=CLAUDE), tmp_path
    ) as stage:
        answered = await stage.ask()

        assert (answered.status, answered.spoken) == (200, "Sunny.")
        assert [block["type"] for block in stage.asked()[-1]["messages"][1]["content"]] == ["tool_use"]


@pytest.mark.parametrize("max_tokens", [500, 1024, 3000])
@pytest.mark.parametrize("effort", ["low", "high"])
async def test_an_effort_fits_into_few_tokens(tmp_path: Path, max_tokens: int, effort: str) -> None:
    refusal = {
        "type": "error",
        "error": {
            "type": "invalid_request_error",
            "message": "`max_tokens` must be greater than `thinking.budget_tokens`.",
        },
    }
    body = {"messages": [ASK], "reasoning_effort": effort, "max_tokens": max_tokens}
    rules = ({"when": "budget_above_max_tokens", "status": 400, "json": refusal}, {"json": CLAUDE_ANSWERS})
    async with staged(
        case("/v1/chat/completions", body, *rules, provider="anthropic", arm=CLAUDE), tmp_path
    ) as stage:
        answered = await stage.ask()

        assert (answered.status, answered.text) == (200, "Sunny.")
        assert stage.asked()[-1]["max_tokens"] >= max_tokens


async def test_claude_gets_an_id_that_occurs_twice_only_once(tmp_path: Path) -> None:
    turns = [ASK, called("call_0"), result("call_0"), called("call_0"), result("call_0")]
    body = {"messages": turns, "tools": OPENAI_TOOLS, "max_tokens": 100}
    refusal = {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "`tool_use` ids must be unique"},
    }
    rules = ({"when": "twice_the_same_id", "status": 400, "json": refusal}, {"json": CLAUDE_ANSWERS})
    async with staged(
        case("/v1/chat/completions", body, *rules, provider="anthropic", arm=CLAUDE), tmp_path
    ) as stage:
        answered = await stage.ask()

        assert (answered.status, answered.text) == (200, "Sunny.")
        parts = [part for turn in stage.asked()[-1]["messages"] for part in turn["content"]]
        uses = [part["id"] for part in parts if part["type"] == "tool_use"]
        assert [part["tool_use_id"] for part in parts if part["type"] == "tool_result"] == uses


async def test_cache_marks_of_a_client_of_openai_reach_claude(tmp_path: Path) -> None:
    text = {"type": "text", "text": "A long text.", "cache_control": {"type": "ephemeral"}}
    body = {"messages": [{"role": "user", "content": [text]}], "max_tokens": 100}
    rules = ({"when": "cache_marks", "json": CLAUDE_ANSWERS}, {"status": 400, "json": CLAUDE_REFUSES})
    async with staged(
        case("/v1/chat/completions", body, *rules, provider="anthropic", arm=CLAUDE), tmp_path
    ) as stage:
        assert (await stage.ask()).text == "Sunny."


# --- ids


@pytest.mark.parametrize(
    "call_id", ["functions.weather:0", "call 1", "x" * 200, "a/b+c=", "toolu_enc_abc", "\N{FIRE}"]
)
@pytest.mark.parametrize("stream", [False, True])
async def test_any_id_of_a_model_comes_back_to_it(tmp_path: Path, call_id: str, stream: bool) -> None:
    call = called(call_id)
    pieces = [{**call["tool_calls"][0], "index": 0}]
    first_rule: Json = {"when": "no_calls", "json": completion(call, "tool_calls")}
    if stream:
        first_rule = {"when": "no_calls", "sse": chunks({"tool_calls": pieces}, finish_reason="tool_calls")}
    answers = {"sse": chunks({"content": "Sunny."})} if stream else {"json": SUNNY}
    first = messages(ASK, tools=TOOLS, stream=stream)
    async with staged(case("/v1/messages", first, first_rule, answers), tmp_path) as stage:
        [use] = (await ask(stage, first, "r-1")).tool_uses
        returned = {"type": "tool_result", "tool_use_id": use["id"], "content": "sunny"}
        turns = [ASK, {"role": "assistant", "content": [use]}, {"role": "user", "content": [returned]}]

        await ask(stage, {**first, "messages": turns}, "r-2")

        sent = stage.asked()[-1]["messages"]
        assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"] == call_id


# --- forms that a server refuses


@pytest.mark.parametrize(
    ("condition", "message", "changes"),
    [
        (
            "developer_role",
            "unknown variant `developer`, expected one of `system`, `user`",
            {"messages": [ASK, {"role": "developer", "content": "Be brief."}, ASK]},
        ),
        (
            "text_in_parts",
            "Input should be a valid string",
            {"messages": [{"role": "system", "content": [{"type": "text", "text": "Be brief."}]}, ASK]},
        ),
        (
            "schema_without_properties",
            "object schema missing properties",
            {"tools": [{"type": "function", "function": {"name": "list", "parameters": {"type": "object"}}}]},
        ),
        (
            "long_tool_name",
            "Invalid 'tools[0].function.name': string too long. Expected a string with maximum length 64",
            {
                "tools": [
                    {"type": "function", "function": {"name": "mcp__" + 70 * "x", "parameters": WEATHER}}
                ]
            },
        ),
        (
            "max_tokens",
            "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
            {"max_tokens": 9},
        ),
        (
            "field:max_completion_tokens",
            "Unknown parameter: max_completion_tokens",
            {"max_completion_tokens": 9},
        ),
        (
            "foreign_call_ids",
            "tool ids must look like functions.name:index",
            {"messages": [ASK, called("call_a"), result("call_a")], "tools": OPENAI_TOOLS},
        ),
        (
            "cache_marks",
            "messages[0].content[0].cache_control: Extra inputs are not permitted",
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "text", "text": "A", "cache_control": {"type": "ephemeral"}}],
                    }
                ]
            },
        ),
        (
            "strict_with_optional",
            "'required' is required to be supplied and to be an array including every key in properties",
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {
                        "name": "a",
                        "strict": True,
                        "schema": {"type": "object", "properties": {"a": {}}},
                    },
                }
            },
        ),
        ("many_stops", "Invalid 'stop': array too long. Maximum length 4.", {"stop": list("12345")}),
        ("field:user", "property 'user' is unsupported", {"user": "u"}),
        ("field:seed", "Extra inputs are not permitted: body.seed", {"seed": 7}),
        ("field:verbosity", "Unrecognized request argument supplied: verbosity", {"verbosity": "low"}),
        ("stream_options", "stream_options: Extra inputs are not permitted", {}),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_refused_form_is_answered_and_blames_nobody(
    tmp_path: Path, condition: str, message: str, changes: Json, stream: bool
) -> None:
    body = {"messages": [ASK], **changes, "stream": stream}
    answers = {"sse": chunks({"content": "Sunny."})} if stream else {"json": SUNNY}
    refusal = {"when": condition, "status": 400, "json": {"error": {"message": message}}}
    async with staged(case("/v1/chat/completions", body, refusal, answers), tmp_path) as stage:
        first = await stage.ask()
        second = await stage.ask(request_id="r-2")

        assert [(a.status, a.text) for a in (first, second)] == [(200, "Sunny."), (200, "Sunny.")]
        assert len(stage.asked()) <= 3  # the second request is right at once
        assert not stage.is_blamed()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
async def test_a_form_that_stays_refused_is_the_clients_error(tmp_path: Path, path: str) -> None:
    refusal = {"status": 400, "json": {"error": {"message": "property 'user' is unsupported"}}}
    body = {"messages": [ASK], "user": "u"} if "chat" in path else messages(ASK)
    async with staged(case(path, body, refusal), tmp_path) as stage:
        answered = await stage.ask()

        assert answered.status == 400
        assert "property 'user' is unsupported" in answered.error["message"]
        assert len(stage.asked()) == (2 if "chat" in path else 1)
        assert not stage.is_blamed()


async def test_a_client_of_anthropic_may_have_more_stop_sequences_than_the_server_takes(
    tmp_path: Path,
) -> None:
    body = messages(ASK, stop_sequences=["1", "2", "3", "4", " And"])
    refusal = {
        "when": "many_stops",
        "status": 400,
        "json": {"error": {"message": "stop: at most 4 sequences"}},
    }
    answer = {"json": completion({"content": "Sunny. And warm."})}
    async with staged(case("/v1/messages", body, refusal, answer), tmp_path) as stage:
        answered = await stage.ask()

        assert (answered.spoken, answered.stop) == ("Sunny.", ("stop_sequence", " And"))
