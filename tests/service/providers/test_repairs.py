"""A request in a form that its server refuses is repaired and sent once more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from service.domain.basics import Json
from service.domain.query import Native
from service.errors import ProviderRejected
from service.providers.anthropic import AnthropicClient
from service.providers.fitting import fitted
from service.providers.openai_compatible import OpenAICompatibleClient
from service.providers.openai_repairs import openai_repairs
from service.providers.openai_request import OPENAI_BASE_URL
from service.providers.repairs import MAX_REPAIRS
from service.providers.tool_ids import with_nine_letters
from tests.service.providers.scripted import (
    BODY,
    NOW,
    SECRETS,
    Script,
    Upstream,
    answers,
    chunk_body,
    collected,
    completion,
    event,
    streams,
    text_of,
)

HI: Json = {"role": "user", "content": "Say hi."}
LONG = "mcp__" + "a_server_with_a_long_name__" * 3


def tool(name: str = "read", **function: Any) -> Json:
    return {"type": "function", "function": {"name": name, **function}}


def called(call_id: str = "call_1", name: str = "read", **fields: Any) -> Json:
    function = {"name": name, "arguments": "{}"}
    calls = [{"id": call_id, "type": "function", "function": function}]
    return {"role": "assistant", "content": None, "tool_calls": calls} | fields


def result(call_id: str = "call_1") -> Json:
    return {"role": "tool", "tool_call_id": call_id, "content": "1"}


def text(*texts: str, **fields: Any) -> Json:
    return {"role": "user", "content": [{"type": "text", "text": t} | fields for t in texts]}


LOOP = [HI, called(), result()]


def messages(*messages: Json, **fields: Any) -> Json:
    return {"messages": list(messages), **fields}


# What servers write about a form, a request with it, and the form that they get then.
REFUSED: dict[str, tuple[str, Json, Json]] = {
    "developer, DeepSeek": (
        "Failed to deserialize the JSON body into the target type: messages[0].role: unknown variant "
        "`developer`, expected one of `system`, `user`, `assistant`, `tool` at line 1 column 31",
        messages({"role": "developer", "content": "Be brief."}, HI),
        messages({"role": "system", "content": "Be brief."}, HI),
    ),
    "developer, Mistral": (
        "Input tag 'developer' found using 'role' does not match any of the expected tags",
        messages(HI, {"role": "developer", "content": "Be brief."}, HI),
        messages(HI, {"role": "system", "content": "Be brief."}, HI),
    ),
    "developer, a template": (
        "Unexpected message role.",
        messages({"role": "developer", "content": "Be brief."}, HI),
        messages({"role": "system", "content": "Be brief."}, HI),
    ),
    "reasoning, DeepSeek": (
        "The `reasoning_content` in the thinking mode must be passed back to the API.",
        messages(*LOOP),
        messages(HI, called(reasoning_content=""), result()),
    ),
    "reasoning, Kimi": (
        "thinking is enabled but reasoning_content is missing in assistant tool call message at index 1",
        messages(HI, called(reasoning="I read."), result(), called("call_2"), result("call_2")),
        messages(
            HI,
            called(reasoning="I read.", reasoning_content="I read."),
            result(),
            called("call_2", reasoning_content=""),
            result("call_2"),
        ),
    ),
    "reasoning that is not wanted, Groq": (
        "property 'reasoning_content' is unsupported",
        messages(HI, called(reasoning_content="I read.", reasoning_details=[]), result()),
        messages(*LOOP),
    ),
    "reasoning that is not wanted, pydantic": (
        "messages[1].reasoning: Extra inputs are not permitted",
        messages(HI, called(reasoning="I read."), result()),
        messages(*LOOP),
    ),
    "reasoning that is not wanted, DeepSeek R1": (
        "The reasoning_content field should not be included in the input messages",
        messages(HI, {"role": "assistant", "content": "Hi.", "reasoning_content": "I greet."}, HI),
        messages(HI, {"role": "assistant", "content": "Hi."}, HI),
    ),
    "parts, vLLM": (
        "messages[0].content: Input should be a valid string",
        messages(text("One.", "Two.")),
        messages({"role": "user", "content": "One.\n\nTwo."}),
    ),
    "parts, serde": (
        "Failed to deserialize: messages[0]: invalid type: sequence, expected a string",
        messages({**text("Be brief."), "role": "system"}, HI),
        messages({"role": "system", "content": "Be brief."}, HI),
    ),
    "parts of a tool": (
        "'messages.2' : content must be a string",
        messages(HI, called(content="I read."), {**text("1"), "role": "tool", "tool_call_id": "call_1"}),
        messages(HI, called(content="I read."), result()),
    ),
    "no content": (
        "messages.1.content: none is not an allowed value, str type expected",
        messages(*LOOP),
        messages(HI, called(content=""), result()),
    ),
    "max_tokens": (
        "Unsupported parameter: 'max_tokens' is not supported with this model. "
        "Use 'max_completion_tokens' instead.",
        messages(HI, max_tokens=5),
        messages(HI, max_completion_tokens=5),
    ),
    "max_completion_tokens": (
        "Unrecognized request argument supplied: max_completion_tokens",
        messages(HI, max_completion_tokens=5),
        messages(HI, max_tokens=5),
    ),
    "two fields at once": (
        "Unrecognized request arguments supplied: max_completion_tokens, user",
        messages(HI, max_completion_tokens=5),
        messages(HI, max_tokens=5),
    ),
    "a field without quotes": (
        "Unrecognized request argument supplied: store",
        messages(HI, store=True),
        messages(HI),
    ),
    "both names": (
        "max_tokens: Extra inputs are not permitted",
        messages(HI, max_completion_tokens=5, max_tokens=6),
        messages(HI, max_completion_tokens=5),
    ),
    "OpenRouter's reasoning": (
        "Unknown parameter: 'reasoning'.",
        messages(HI, reasoning={"effort": "high", "exclude": True}),
        messages(HI, reasoning_effort="high"),
    ),
    "ids, Kimi": (
        "tool ids must look like functions.name:index",
        messages(
            HI, called("toolu_1"), result("toolu_1"), called("functions.read:1"), result("functions.read:1")
        ),
        messages(
            HI,
            called("functions.read:0"),
            result("functions.read:0"),
            called("functions.read:1"),
            result("functions.read:1"),
        ),
    ),
    "ids, Mistral": (
        "Tool call id was call_1 but must be a-z, A-Z, 0-9, with a length of 9.",
        messages(*LOOP),
        messages(*with_nine_letters(LOOP)),
    ),
    "cache marks": (
        "messages[0].content[0].cache_control: Extra inputs are not permitted",
        messages(text("Hi", cache_control={"type": "ephemeral"}), tools=[tool() | {"cache_control": {}}]),
        messages(text("Hi"), tools=[tool()]),
    ),
    "a later system message": (
        "System message must be at the beginning.",
        messages({"role": "system", "content": "A"}, HI, {"role": "system", "content": "B"}),
        messages({"role": "system", "content": "A"}, HI, {"role": "user", "content": "B"}),
    ),
    "a strict schema": (
        "Invalid schema for response_format 'answer': In context=(), 'required' is required to be supplied "
        "and to be an array including every key in properties. Missing 'b'.",
        messages(
            HI,
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": {}},
            },
        ),
        messages(
            HI,
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": False, "schema": {}},
            },
        ),
    ),
    "strict tools": (
        "tools[0].function.strict: Extra inputs are not permitted",
        messages(HI, tools=[tool(strict=True), tool("write")]),
        messages(HI, tools=[tool(), tool("write")]),
    ),
    "thinking in a loop without it": (
        "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`. When "
        "`thinking` is enabled, a final `assistant` message must start with a thinking block.",
        messages(*LOOP, reasoning_effort="high"),
        messages(*LOOP),
    ),
    "a budget above max_tokens": (
        "`max_tokens` must be greater than `thinking.budget_tokens`.",
        messages(HI, reasoning_effort="high", max_tokens=100),
        messages(HI, max_tokens=100),
    ),
    "a keyword of schemas, Gemini": (
        'Invalid JSON payload received. Unknown name "exclusiveMinimum" at '
        "'tools[0].function_declarations[0].parameters.properties[0].value': Cannot find field.",
        messages(HI, tools=[tool(parameters={"properties": {"a": {"exclusiveMinimum": 1, "minimum": 0}}})]),
        messages(HI, tools=[tool(parameters={"properties": {"a": {"minimum": 0}}})]),
    ),
    "a keyword of schemas, a template": (
        "The schema keyword $schema is not supported",
        messages(HI, tools=[tool(parameters={"$schema": "x", "properties": {"$schema": {"const": 1}}})]),
        messages(HI, tools=[tool(parameters={"properties": {"$schema": {"enum": [1]}}})]),
    ),
    "a choice at the top, Anthropic": (
        "tools.0.custom.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level",
        messages(
            HI,
            tools=[
                tool(
                    parameters={
                        "anyOf": [
                            {"properties": {"a": {}, "b": {}}, "required": ["a", "b"]},
                            {"properties": {"b": {}}, "required": ["b"]},
                        ]
                    }
                )
            ],
        ),
        messages(
            HI,
            tools=[tool(parameters={"type": "object", "properties": {"b": {}, "a": {}}, "required": ["b"]})],
        ),
    ),
    "two system messages": (
        "System message must be at the beginning.",
        messages({"role": "system", "content": "A"}, {"role": "system", "content": "B"}, HI),
        messages({"role": "system", "content": "A\n\nB"}, HI),
    ),
    **{
        f"a neutral {name}": (
            f"property '{name}' is unsupported",
            messages(HI, **{name: value}),
            messages(HI),
        )
        for name, value in {
            "frequency_penalty": 0,
            "logit_bias": {},
            "logprobs": False,
            "modalities": ["text"],
            "n": 1,
            "parallel_tool_calls": True,
            "response_format": {"type": "text"},
            "temperature": 1,
            "top_logprobs": 0,
        }.items()
    },
    **{
        f"bookkeeping: {name}": (
            f"property '{name}' is unsupported",
            messages(HI, **{name: "x"}),
            messages(HI),
        )
        for name in ("metadata", "prompt_cache_key", "safety_identifier", "service_tier", "store", "user")
    },
}


def refuses_if(
    condition: Callable[[Json], bool], message: str, otherwise: Script, status: int = 400
) -> Script:
    """Refuse the bodies with the condition."""

    async def script(request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        if condition(body):
            return web.json_response({"error": {"message": message}}, status=status)
        return await otherwise(request)

    return script


def sent(upstream: Upstream) -> list[Json]:
    """The requests without what the router adds to each."""
    return [
        {name: value for name, value in body.items() if name not in ("model", "stream", "stream_options")}
        for body in upstream.bodies
    ]


@pytest.fixture
async def model_client() -> AsyncIterator[OpenAICompatibleClient]:
    model_client = OpenAICompatibleClient(SECRETS, lambda: NOW)
    yield model_client
    await model_client.close()


def equals(wanted: Json) -> Callable[[Json], bool]:
    return lambda body: all(body.get(name) == wanted.get(name) for name in {*wanted, *body} - ADDED)


ADDED = {"model", "stream", "stream_options"}
WHOLE = answers(completion())
STREAM = streams(event(chunk_body("hi")), event(chunk_body(finish_reason="stop")), b"data: [DONE]\n\n")


@pytest.mark.parametrize(("message", "body", "repaired"), REFUSED.values(), ids=REFUSED)
async def test_a_refused_form_is_repaired_and_sent_once_more(
    model_client: OpenAICompatibleClient, upstream: Upstream, message: str, body: Json, repaired: Json
) -> None:
    upstream.script = refuses_if(equals(body), message, WHOLE)

    answer = await model_client.complete(upstream.arm(), body, timeout_s=5)

    assert answer.body["choices"][0]["message"]["content"] == "hi"
    assert sent(upstream) == [body, repaired]


@pytest.mark.parametrize(("message", "body", "repaired"), REFUSED.values(), ids=REFUSED)
async def test_other_requests_are_not_changed_by_the_repair(
    model_client: OpenAICompatibleClient, upstream: Upstream, message: str, body: Json, repaired: Json
) -> None:
    upstream.script = refuses_if(lambda _: True, message, WHOLE)

    with pytest.raises(ProviderRejected):
        await model_client.complete(upstream.arm(), repaired, timeout_s=5)

    assert sent(upstream) == [repaired]


async def test_the_repair_is_remembered_for_the_arm(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    message, body, repaired = REFUSED["developer, DeepSeek"]
    upstream.script = refuses_if(equals(body), message, WHOLE)
    arm = upstream.arm()

    for _ in range(3):
        await model_client.complete(arm, body, timeout_s=5)
    await model_client.complete(replace(arm, arm_id="another"), body, timeout_s=5)

    assert sent(upstream) == [body, repaired, repaired, repaired, body, repaired]


async def test_a_repair_is_logged_once(model_client: OpenAICompatibleClient, upstream: Upstream) -> None:
    message, body, _ = REFUSED["developer, DeepSeek"]
    upstream.script = refuses_if(equals(body), message, WHOLE)

    with capture_logs() as logs:
        for _ in range(2):
            await model_client.complete(upstream.arm(), body, timeout_s=5)

    assert logs == [
        {"event": "request_repaired", "log_level": "info", "model": "an-arm", "form": "developer"}
    ]


async def test_a_repair_that_did_not_help_is_not_remembered(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    message, body, repaired = REFUSED["developer, a template"]
    upstream.script = refuses_if(lambda _: True, message, WHOLE)

    for _ in range(2):
        with pytest.raises(ProviderRejected, match="Unexpected message role"):
            await model_client.complete(upstream.arm(), body, timeout_s=5)

    assert sent(upstream) == [body, repaired, body, repaired]


async def test_a_repair_of_one_request_alone_is_not_remembered(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    message, body, repaired = REFUSED["a budget above max_tokens"]
    enough = {**body, "max_tokens": 50_000}
    upstream.script = refuses_if(equals(body), message, WHOLE)

    await model_client.complete(upstream.arm(), body, timeout_s=5)
    await model_client.complete(upstream.arm(), enough, timeout_s=5)

    assert sent(upstream) == [body, repaired, enough]


async def test_several_faults_are_repaired_one_after_the_other(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    body = messages({"role": "developer", "content": "A"}, text("One.", "Two."), user="u", store=True)
    script = WHOLE
    for condition, message in (
        (lambda b: "store" in b, "property 'store' is unsupported"),
        (lambda b: "user" in b, "property 'user' is unsupported"),
        (lambda b: isinstance(b["messages"][1]["content"], list), "messages[1].content must be a string"),
        (lambda b: b["messages"][0]["role"] == "developer", "unknown role developer"),
    ):
        script = refuses_if(condition, message, script)
    upstream.script = script

    await model_client.complete(upstream.arm(), body, timeout_s=5)
    await model_client.complete(upstream.arm(), body, timeout_s=5)

    repaired = messages({"role": "system", "content": "A"}, {"role": "user", "content": "One.\n\nTwo."})
    assert len(upstream.bodies) == MAX_REPAIRS + 2
    assert sent(upstream)[-2:] == [repaired, repaired]


@pytest.mark.parametrize(
    "message",
    [
        "temperature is too high",
        "property 'reasoning_effort' is unsupported",
        "property 'temperature' is unsupported",
        "max_tokens is too large: 5. This model supports at most 4 completion tokens",
        "This model's maximum context length is 8192 tokens.",
        'Invalid JSON payload received. Unknown name "x": Cannot find field.',
        "the user 'developers' has no access",
        "",
    ],
)
async def test_what_the_router_cannot_repair_is_refused_at_once(
    model_client: OpenAICompatibleClient, upstream: Upstream, message: str
) -> None:
    body = messages(HI, max_tokens=5, temperature=2, reasoning_effort="high", user="u")
    upstream.script = refuses_if(lambda _: True, message, WHOLE)

    with pytest.raises(ProviderRejected):
        await model_client.complete(upstream.arm(), body, timeout_s=5)

    assert len(upstream.bodies) == 1


@pytest.mark.parametrize(
    ("status", "refusal"),
    [
        (
            422,
            {
                "detail": [
                    {
                        "type": "extra_forbidden",
                        "loc": ["body", "stream_options"],
                        "msg": "Extra inputs are not permitted",
                    }
                ]
            },
        ),
        (400, {"error": {"message": "Unrecognized request argument supplied: stream_options"}}),
        (400, {"error": {"message": "'stream_options' is not supported", "param": "stream_options"}}),
        (400, [{"error": {"message": 'Unknown name "stream_options": Cannot find field.'}}]),
    ],
)
async def test_a_stream_is_asked_for_again_without_its_options(
    model_client: OpenAICompatibleClient, upstream: Upstream, status: int, refusal: object
) -> None:
    async def script(request: web.Request) -> web.StreamResponse:
        if "stream_options" in orjson.loads(await request.read()):
            return web.json_response(refusal, status=status)
        return await STREAM(request)

    upstream.script = script

    chunks = [await collected(model_client.stream(upstream.arm(), BODY, timeout_s=5)) for _ in range(2)]

    assert [text_of(got) for got in chunks] == ["hi", "hi"]
    assert ["stream_options" in body for body in upstream.bodies] == [True, False, False]
    usage = chunks[0][-1].usage
    assert usage is not None
    assert usage.estimated


async def test_after_the_first_chunk_nothing_is_repaired(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    refusal = {"error": {"message": "unknown role developer", "code": 400}}
    upstream.script = streams(event(chunk_body("hi")), event(refusal))

    with pytest.raises(ProviderRejected):
        await collected(model_client.stream(upstream.arm(), REFUSED["developer, Mistral"][1], timeout_s=5))

    assert len(upstream.bodies) == 1


async def test_a_refusal_in_place_of_the_first_chunk_is_repaired(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    _, body, _ = REFUSED["developer, Mistral"]
    refused = streams(event({"error": {"message": "unknown role developer", "code": 400}}))

    async def script(request: web.Request) -> web.StreamResponse:
        first = orjson.loads(await request.read()) == upstream.bodies[0]
        return await (refused if first else STREAM)(request)

    upstream.script = script

    assert text_of(await collected(model_client.stream(upstream.arm(), body, timeout_s=5))) == "hi"


# --- names of tools


@pytest.mark.parametrize("name", [LONG, "files.read", "lies nach/größe", "x" * 65])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_refused_name_of_a_tool_is_shortened_and_comes_back_whole(
    model_client: OpenAICompatibleClient, upstream: Upstream, name: str, stream: bool
) -> None:
    async def script(request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        sent_name = body["tools"][1]["function"]["name"]
        if not (len(sent_name) <= 64 and sent_name.isascii() and sent_name.replace("_", "").isalnum()):
            message = f"Invalid 'tools[1].function.name': string too long or of another pattern: {sent_name}"
            return web.json_response({"error": {"message": message}}, status=400)
        call = {"index": 0, "id": "c", "function": {"name": sent_name, "arguments": "{}"}}
        if stream:
            called = chunk_body(
                choices=[{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}]
            )
            return await streams(event(called), event(chunk_body(finish_reason="tool_calls")))(request)
        answer = {"role": "assistant", "content": None, "tool_calls": [call]}
        return web.json_response(completion(choices=[{"message": answer, "finish_reason": "tool_calls"}]))

    upstream.script = script
    choice = {"type": "function", "function": {"name": name}}
    tools = [tool("short"), tool(name)]
    body = messages(HI, called(name=name), result(), tools=tools, tool_choice=choice)

    if stream:
        chunks = await collected(model_client.stream(upstream.arm(), body, timeout_s=5))
        deltas = [choice["delta"] for chunk in chunks for choice in chunk.body["choices"]]
        calls = [call for delta in deltas for call in delta.get("tool_calls") or []]
    else:
        answer = await model_client.complete(upstream.arm(), body, timeout_s=5)
        calls = answer.body["choices"][0]["message"]["tool_calls"]

    assert [call["function"]["name"] for call in calls if "name" in call["function"]] == [name]
    last = upstream.bodies[-1]
    new = last["tools"][1]["function"]["name"]
    assert last["tools"][0]["function"]["name"] == "short"
    assert last["tool_choice"]["function"]["name"] == new
    assert last["messages"][1]["tool_calls"][0]["function"]["name"] == new


async def test_names_that_begin_alike_stay_different(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    tools = [tool(LONG + "a"), tool(LONG + "b")]
    body = messages(HI, tools=tools)
    upstream.script = refuses_if(equals(body), "tools[0].function.name: string too long, maximum 64", WHOLE)

    await model_client.complete(upstream.arm(), body, timeout_s=5)

    assert len({t["function"]["name"] for t in upstream.bodies[-1]["tools"]}) == 2


# --- before any refusal


@pytest.mark.parametrize(
    ("schema", "wanted"),
    [
        ({"type": "object"}, {"type": "object", "properties": {}}),
        ({}, {"type": "object", "properties": {}}),
        (
            {"type": "object", "additionalProperties": False},
            {"type": "object", "properties": {}, "additionalProperties": False},
        ),
        ({"type": "object", "properties": {"a": {}}}, None),
        ({"anyOf": [{"type": "object"}]}, None),
        ({"type": "array"}, None),
        (None, None),
    ],
)
def test_every_schema_of_a_tool_has_properties(
    upstream: Upstream, schema: Json | None, wanted: Json | None
) -> None:
    body = messages(HI, tools=[tool(parameters=schema), tool("no_parameters"), {"type": "custom"}])

    tools = fitted(upstream.arm(), body, None).body["tools"]

    assert tools[0]["function"]["parameters"] == (schema if wanted is None else wanted)
    assert tools[1:] == body["tools"][1:]


@pytest.mark.parametrize(
    ("reasoning", "effort"),
    [
        ({"effort": "high"}, "high"),
        ({"effort": "minimal"}, "minimal"),
        ({"effort": "xhigh"}, "high"),
        ({"effort": "none"}, "none"),
        ({"max_tokens": 2000}, "low"),
        ({"max_tokens": 30_000}, "high"),
        ({"enabled": True}, "medium"),
        ({"enabled": False}, "none"),
        ({"exclude": True}, None),
        ({}, None),
        (None, None),
        ("high", None),
        ({"effort": ["high"], "max_tokens": True}, None),
    ],
)
def test_openai_itself_gets_an_effort_for_openrouters_reasoning(
    upstream: Upstream, reasoning: object, effort: str | None
) -> None:
    arm = replace(upstream.arm(), base_url=OPENAI_BASE_URL)

    request = fitted(arm, {**BODY, "reasoning": reasoning}, None).body

    assert "reasoning" not in request
    assert request.get("reasoning_effort") == effort


def test_an_effort_of_the_client_wins_over_openrouters_reasoning(upstream: Upstream) -> None:
    arm = replace(upstream.arm(), base_url=OPENAI_BASE_URL)
    body = {**BODY, "reasoning": {"effort": "high"}, "reasoning_effort": "low"}

    assert fitted(arm, body, None).body["reasoning_effort"] == "low"


# --- odd requests


@pytest.mark.parametrize(
    "body",
    [
        messages(
            {"role": "assistant", "content": None, "tool_calls": [None, 1, {}, {"id": [1], "function": 2}]}
        ),
        messages({"role": "assistant", "content": None, "tool_calls": {"a": 1}}),
        messages({"role": "tool", "content": [], "tool_call_id": [1], "name": {"a": 1}}),
        messages(HI, tools=[{"type": "x"}, tool(LONG)], tool_choice=7, reasoning=[1]),
        messages({"role": "user", "content": [{"type": "text"}, {"text": 1}]}),
        messages(HI, response_format={"type": "json_schema", "json_schema": {"strict": "x"}}),
    ],
)
@pytest.mark.parametrize("repair", openai_repairs(), ids=lambda repair: repair.form)
def test_a_repair_fails_on_no_request(repair: Any, body: Json) -> None:
    before = orjson.dumps(body)

    repair.repaired(body)

    assert orjson.dumps(body) == before


# --- Claude, for clients of Anthropic's dialect

USE = {"type": "tool_use", "id": "toolu_1", "name": "read", "input": {}}
RETURNED = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "1"}]}
THINKING = {"type": "thinking", "thinking": "Hm.", "signature": "EqQB"}
NATIVE_LOOP = [HI, {"role": "assistant", "content": [USE]}, RETURNED]
KEEP, CLEAR = {"type": "clear_tool_uses_20250919"}, {"type": "clear_thinking_20251015"}
REFUSES_THINKING = REFUSED["thinking in a loop without it"][0]


def native(*turns: Json, **fields: Any) -> Native:
    return Native({"max_tokens": 9000, "messages": list(turns), **fields}, {})


@pytest.mark.parametrize("thinking", [{"type": "enabled", "budget_tokens": 2000}, {"type": "adaptive"}])
@pytest.mark.parametrize(
    ("management", "left"),
    [(None, None), ({"edits": [CLEAR]}, None), ({"edits": [CLEAR, KEEP]}, {"edits": [KEEP]})],
)
async def test_a_loop_that_was_begun_without_thinking_goes_on_without(
    upstream: Upstream, thinking: Json, management: Json | None, left: Json | None
) -> None:
    message = {"type": "message", "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn"}
    upstream.script = refuses_if(lambda b: "thinking" in b, REFUSES_THINKING, answers(message))
    fields = {} if management is None else {"context_management": management}
    client = AnthropicClient(SECRETS, lambda: NOW)

    answer = await client.complete(
        upstream.arm("anthropic"), native(*NATIVE_LOOP, thinking=thinking, **fields), timeout_s=5
    )
    await client.close()

    assert answer.native is not None
    assert [body.get("thinking") for body in upstream.bodies] == [thinking, None]
    assert upstream.bodies[-1].get("context_management") == left
    assert upstream.bodies[-1]["messages"] == NATIVE_LOOP


async def test_a_loop_with_thinking_keeps_it(upstream: Upstream) -> None:
    upstream.script = refuses_if(lambda _: True, REFUSES_THINKING, WHOLE)
    client = AnthropicClient(SECRETS, lambda: NOW)
    turns = [HI, {"role": "assistant", "content": [THINKING, USE]}, RETURNED]

    with pytest.raises(ProviderRejected):
        await client.complete(
            upstream.arm("anthropic"), native(*turns, thinking={"type": "enabled"}), timeout_s=5
        )
    await client.close()

    assert len(upstream.bodies) == 1


BUDGET: Json = {"type": "enabled", "budget_tokens": 4_000}
MARK = {"cache_control": {"type": "ephemeral"}}


def marked(*marks: Json) -> list[Json]:
    return [{"role": "user", "content": [{"type": "text", "text": "a", **mark}]} for mark in marks]


REFUSED_BY_ANTHROPIC: dict[str, tuple[str, Json, Json]] = {
    "a system turn": (
        'messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter, not '
        '"system" as an input message role.',
        {"messages": [HI, {"role": "system", "content": "b"}], "max_tokens": 9},
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": t} for t in ("Say hi.", "b")]}
            ],
            "max_tokens": 9,
        },
    ),
    "a small limit": (
        "`max_tokens` must be greater than `thinking.budget_tokens`.",
        {"messages": [HI], "max_tokens": 4_000, "thinking": BUDGET},
        {"messages": [HI], "max_tokens": 4_000, "thinking": {**BUDGET, "budget_tokens": 3_000}},
    ),
    "a field of Claude Code's": (
        "safeguards: Extra inputs are not permitted",
        {"messages": [HI], "max_tokens": 9, "safeguards": [1], "metadata": {"user_id": "u"}},
        {"messages": [HI], "max_tokens": 9, "metadata": {"user_id": "u"}},
    ),
    "five marks": (
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
        {"messages": marked(MARK, MARK, MARK, MARK, MARK), "max_tokens": 9},
        {"messages": marked(MARK, {}, MARK, MARK, MARK), "max_tokens": 9},
    ),
}


@pytest.mark.parametrize(
    ("message", "body", "repaired"), REFUSED_BY_ANTHROPIC.values(), ids=REFUSED_BY_ANTHROPIC
)
async def test_a_form_that_a_server_of_anthropics_dialect_refuses_is_repaired(
    upstream: Upstream, message: str, body: Json, repaired: Json
) -> None:
    whole = {"type": "message", "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn"}
    upstream.script = refuses_if(equals(body), message, answers(whole))
    client = AnthropicClient(SECRETS, lambda: NOW)

    answer = await client.complete(upstream.arm("anthropic"), Native(body, {}), timeout_s=5)
    await client.close()

    assert answer.native is not None
    assert sent(upstream) == [body, repaired]
    assert [note.partition(": ")[2] for note in answer.notes] == ["refused by the server, and repaired"]


async def test_a_repair_is_noted_in_the_answers_that_needed_it(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    upstream.script = refuses_if(lambda body: "store" in body, "property 'store' is unsupported", WHOLE)
    note = ("store: refused by the server, and repaired",)

    answers_ = [
        await model_client.complete(upstream.arm(), messages(HI, **fields), timeout_s=5)
        for fields in ({"store": True}, {"store": True}, {})
    ]
    upstream.script = STREAM
    body = messages(HI, store=True)
    chunks = await collected(model_client.stream(upstream.arm(), body, timeout_s=5))

    assert [answer.notes for answer in answers_] == [note, note, ()]
    assert [chunk.notes for chunk in chunks if chunk.notes] == [note]
