from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator
from dataclasses import replace

import orjson
import pytest

from service.domain.answer import Usage
from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.usage import reported
from service.errors import (
    ProviderBroken,
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
)
from service.providers.litellm import LiteLLMClient
from tests.service.providers.scripted import (
    BODY,
    KEY,
    NOW,
    SECRETS,
    Script,
    Upstream,
    answers,
    chunk_body,
    collected,
    completion,
    drop,
    event,
    hang,
    streams,
    text_of,
)

# LiteLLM loads its parts at their first use, and some of them warn.
pytestmark = pytest.mark.filterwarnings("ignore")

USAGE = {"input_tokens": 10, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 3}
COUNTED = Usage(prompt_tokens=18, cached_tokens=5, completion_tokens=4, cache_write_tokens=3)


@pytest.fixture
async def model_client() -> AsyncIterator[LiteLLMClient]:
    model_client = LiteLLMClient(SECRETS, lambda: NOW)
    yield model_client
    await model_client.close()


def claude(upstream: Upstream) -> Arm:
    return upstream.arm("anthropic", "claude-sonnet-5-5", path="")


def message(*content: Json) -> Json:
    frame = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-5-5"}
    return frame | {
        "content": list(content),
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": USAGE | {"output_tokens": 4},
    }


def anthropic_event(kind: str, **fields: object) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), orjson.dumps({"type": kind, **fields}))


def text_events(*texts: str) -> list[bytes]:
    start = message() | {"stop_reason": None, "usage": USAGE | {"output_tokens": 1}}
    deltas = [
        anthropic_event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})
        for text in texts
    ]
    block = {"type": "text", "text": ""}
    return [
        anthropic_event("message_start", message=start),
        anthropic_event("content_block_start", index=0, content_block=block),
        *deltas,
    ]


END = [
    anthropic_event("content_block_stop", index=0),
    anthropic_event(
        "message_delta",
        delta={"stop_reason": "end_turn", "stop_sequence": None},
        usage={"output_tokens": 4},
    ),
    anthropic_event("message_stop"),
]


def anthropic_refuses(
    status: int, kind: str, text: str = "no", headers: dict[str, str] | None = None
) -> Script:
    return answers({"type": "error", "error": {"type": kind, "message": text}}, status, headers)


async def call(model_client: LiteLLMClient, arm: Arm, is_stream: bool) -> None:
    if is_stream:
        await collected(model_client.stream(arm, BODY, timeout_s=20))
    else:
        await model_client.complete(arm, BODY, timeout_s=20)


async def test_an_anthropic_answer_comes_back_as_openais(
    model_client: LiteLLMClient, upstream: Upstream
) -> None:
    upstream.script = answers(message({"type": "text", "text": "hi there"}))

    answer = await model_client.complete(claude(upstream), BODY | {"max_tokens": 50}, timeout_s=20)

    choice = answer.body["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": "hi there"}
    assert choice["finish_reason"] == "stop"
    assert answer.body["object"] == "chat.completion"
    assert answer.usage == COUNTED
    assert answer.body["usage"] == reported(COUNTED)
    assert upstream.paths == ["/v1/messages"]
    assert upstream.headers[0]["x-api-key"] == KEY
    assert upstream.bodies[0]["model"] == "claude-sonnet-5-5"
    assert upstream.bodies[0]["max_tokens"] == 50


async def test_a_tool_call_survives_the_translation(model_client: LiteLLMClient, upstream: Upstream) -> None:
    use = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}}
    upstream.script = answers(message(use) | {"stop_reason": "tool_use"})
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}

    answer = await model_client.complete(claude(upstream), BODY | {"tools": [tool]}, timeout_s=20)

    choice = answer.body["choices"][0]
    (tool_call,) = choice["message"]["tool_calls"]
    assert choice["finish_reason"] == "tool_calls"
    assert tool_call["id"] == "toolu_1"
    assert "index" not in tool_call
    assert orjson.loads(tool_call["function"]["arguments"]) == {"city": "Oslo"}


CALL = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}


@pytest.mark.parametrize(
    ("messages", "system", "sent"),
    [
        (
            [{"role": "system", "content": "S"}, {"role": "developer", "content": "D"}],
            ["S", "D"],
            [("user", "Say hi.")],
        ),
        (
            [
                {"role": "user", "content": "one"},
                {"role": "system", "content": "two"},
                {"role": "assistant", "content": "three"},
            ],
            [],
            [("user", "one"), ("user", "two"), ("assistant", "three"), ("user", "Say hi.")],
        ),
        (
            [{"role": "user", "content": "one"}, {"role": "assistant", "content": ""}],
            [],
            [("user", "one"), ("user", "Say hi.")],
        ),
        (
            [
                {"role": "user", "content": "one"},
                {"role": "assistant", "content": "", "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "call_1", "content": "two"},
            ],
            [],
            [("user", "one"), ("assistant", "add"), ("user", "two"), ("user", "Say hi.")],
        ),
        (
            [{"role": "user", "content": "one"}, {"role": "assistant", "content": None, "refusal": "No."}],
            [],
            [("user", "one"), ("assistant", "No."), ("user", "Say hi.")],
        ),
        (
            [
                {"role": "user", "content": "one"},
                {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
            ],
            [],
            [("user", "one"), ("assistant", "No."), ("user", "Say hi.")],
        ),
    ],
    ids=[
        "system first",
        "system later",
        "an empty answer",
        "only a tool call",
        "a refusal",
        "a refusal in parts",
    ],
)
async def test_anthropic_gets_every_message_in_its_place(
    model_client: LiteLLMClient,
    upstream: Upstream,
    messages: list[Json],
    system: list[str],
    sent: list[tuple[str, str]],
) -> None:
    upstream.script = answers(message({"type": "text", "text": "hi"}))

    await model_client.complete(
        claude(upstream), {"messages": [*messages, {"role": "user", "content": "Say hi."}]}, timeout_s=20
    )

    body = upstream.bodies[0]
    assert [block["text"] for block in body.get("system", [])] == system
    assert [
        (turn["role"], block.get("text") or block.get("name") or block["content"])
        for turn in body["messages"]
        for block in turn["content"]
    ] == sent


@pytest.mark.parametrize(
    "form", [{"type": "json_object"}, {"type": "json_schema", "json_schema": {"name": "x"}}]
)
async def test_json_without_a_schema_is_refused_rather_than_ignored(
    model_client: LiteLLMClient, upstream: Upstream, form: Json
) -> None:
    with pytest.raises(ProviderRejected, match=form["type"]) as raised:
        await model_client.complete(claude(upstream), BODY | {"response_format": form}, timeout_s=20)

    assert raised.value.is_limit_of_one_model
    assert upstream.bodies == []


@pytest.mark.parametrize(
    ("kind", "last"),
    [
        (
            "input_audio",
            {
                "role": "user",
                "content": [{"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}],
            },
        ),
        ("refusal", {"role": "user", "content": [{"type": "refusal", "refusal": "no"}]}),
        (
            "function_call",
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        ),
        ("function_call", {"role": "function", "name": "f", "content": "1"}),
    ],
    ids=["audio", "a refusal of the user's", "a function's call", "a function's result"],
)
async def test_content_that_would_not_reach_anthropic_is_refused_rather_than_dropped(
    model_client: LiteLLMClient, upstream: Upstream, kind: str, last: Json
) -> None:
    body = BODY | {"messages": [{"role": "user", "content": "Listen"}, last]}

    with pytest.raises(ProviderRejected, match=kind) as raised:
        await model_client.complete(claude(upstream), body, timeout_s=20)

    assert raised.value.is_limit_of_one_model
    assert upstream.bodies == []


async def test_an_anthropic_stream_ends_with_the_same_usage(
    model_client: LiteLLMClient, upstream: Upstream
) -> None:
    upstream.script = streams(*text_events("hi", " there"), *END)

    chunks = await collected(model_client.stream(claude(upstream), BODY, timeout_s=20))

    assert text_of(chunks) == "hi there"
    assert [chunk.usage for chunk in chunks] == [None] * (len(chunks) - 1) + [COUNTED]
    assert chunks[-1].body["choices"] == []
    assert chunks[-2].body["choices"][0]["finish_reason"] == "stop"
    assert len({chunk.body["id"] for chunk in chunks}) == 1


@pytest.mark.parametrize(
    "script",
    [
        streams(*text_events("hi")),
        streams(*text_events("hi"), then=drop),
        streams(
            *text_events("hi"), anthropic_event("error", error={"type": "overloaded_error", "message": ""})
        ),
        streams(b"<html>"),
        streams(),
    ],
)
async def test_a_stream_that_breaks_off_never_looks_complete(
    model_client: LiteLLMClient, upstream: Upstream, script: Script
) -> None:
    upstream.script = script

    with pytest.raises(ProviderBroken):
        await collected(model_client.stream(claude(upstream), BODY, timeout_s=20))


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (400, "invalid_request_error", ProviderRejected),
        (401, "authentication_error", ProviderBroken),
        (404, "not_found_error", ProviderBroken),
        (429, "rate_limit_error", ProviderRateLimited),
        (500, "api_error", ProviderBroken),
        (529, "overloaded_error", ProviderBroken),
    ],
)
@pytest.mark.parametrize("is_stream", [True, False])
async def test_refusals_are_distinguished_and_contain_no_key(
    model_client: LiteLLMClient,
    upstream: Upstream,
    status: int,
    kind: str,
    expected: type[ProviderError],
    is_stream: bool,
) -> None:
    upstream.script = anthropic_refuses(status, kind, f"no, {KEY}", {"retry-after": "7"})

    with pytest.raises(expected) as raised:
        await call(model_client, claude(upstream), is_stream)

    assert KEY not in "".join(traceback.format_exception(raised.value))
    if expected is ProviderRateLimited:
        assert raised.value.retry_after_s == 7
    if expected is ProviderRejected:
        assert str(raised.value) == "no, ***"
    assert len(upstream.bodies) == 1  # LiteLLM does not retry


async def test_an_over_long_prompt_has_openais_code(model_client: LiteLLMClient, upstream: Upstream) -> None:
    upstream.script = anthropic_refuses(400, "invalid_request_error", "prompt is too long: 9 tokens > 8")

    with pytest.raises(ProviderRejected) as raised:
        await model_client.complete(claude(upstream), BODY, timeout_s=20)

    assert raised.value.code == "context_length_exceeded"


@pytest.mark.parametrize("parameter", [{"logprobs": True}, {"n": 2}, {"modalities": ["audio"]}], ids=str)
async def test_a_parameter_the_provider_lacks_is_refused_rather_than_dropped(
    model_client: LiteLLMClient, upstream: Upstream, parameter: Json
) -> None:
    with pytest.raises(ProviderRejected, match=next(iter(parameter))) as raised:
        await model_client.complete(claude(upstream), BODY | parameter, timeout_s=20)

    assert raised.value.code == "unsupported_parameter"
    assert "litellm" not in str(raised.value).lower()
    assert upstream.bodies == []


async def test_no_field_of_the_request_decides_where_the_key_is_sent(
    model_client: LiteLLMClient, upstream: Upstream
) -> None:
    upstream.script = answers(message({"type": "text", "text": "hi"}))
    evil = {"api_base": "http://127.0.0.1:9", "base_url": "http://127.0.0.1:9", "api_key": "x", "client": 1}
    more = {"extra_headers": {"x-api-key": "x"}, "mock_response": "fooled", "fallbacks": ["gpt-4"]}

    await model_client.complete(claude(upstream), BODY | evil | more, timeout_s=20)

    assert upstream.headers[0]["x-api-key"] == KEY


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/x.png"}},
        {"type": "image_url", "image_url": "https://127.0.0.1:9/x.png"},
        {"type": "file", "file": {"file_id": "http://127.0.0.1:9/x.pdf"}},
        {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,"}},
    ],
)
async def test_nothing_is_fetched_for_a_client(
    model_client: LiteLLMClient, upstream: Upstream, part: Json
) -> None:
    body = {"messages": [{"role": "user", "content": [part]}]}

    with pytest.raises(ProviderRejected, match="data: URLs") as raised:
        await model_client.complete(claude(upstream), body, timeout_s=20)

    assert raised.value.param == "messages[0].content"


async def test_tools_that_run_elsewhere_are_refused(model_client: LiteLLMClient, upstream: Upstream) -> None:
    tool = {"type": "mcp", "server_url": "litellm_proxy"}

    with pytest.raises(ProviderRejected, match="type function"):
        await model_client.complete(claude(upstream), BODY | {"tools": [tool]}, timeout_s=20)


async def test_an_embedded_image_goes_through(model_client: LiteLLMClient, upstream: Upstream) -> None:
    upstream.script = answers(message({"type": "text", "text": "a dot"}))
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}

    await model_client.complete(
        claude(upstream), {"messages": [{"role": "user", "content": [image]}]}, timeout_s=20
    )

    (sent,) = upstream.bodies[0]["messages"][0]["content"]
    assert sent["source"]["data"] == "iVBORw0KGgo="


async def test_a_silent_provider_times_out(model_client: LiteLLMClient, upstream: Upstream) -> None:
    with pytest.raises(ProviderTimeout):
        await model_client.complete(claude(upstream), BODY, timeout_s=3.0)  # the first call imports a lot

    await upstream.was_left()


async def test_a_stream_that_falls_silent_times_out(model_client: LiteLLMClient, upstream: Upstream) -> None:
    upstream.script = streams(*text_events("hi"), then=hang)

    with pytest.raises(ProviderTimeout):
        await collected(model_client.stream(claude(upstream), BODY, timeout_s=3.0))

    await upstream.was_left()


@pytest.mark.parametrize(
    "model", ["anthropic/claude-x", "gemini/gemini-x", "groq/llama-x", "openai/some-model"]
)
@pytest.mark.parametrize("is_stream", [True, False])
async def test_a_provider_silent_for_longer_than_its_arm_allows_times_out(
    model_client: LiteLLMClient, upstream: Upstream, model: str, is_stream: bool
) -> None:
    arm = replace(upstream.arm("litellm", model, path=""), timeout_s=0.5)

    with pytest.raises(ProviderTimeout) as raised:
        async with asyncio.timeout(20):
            await call(model_client, arm, is_stream)

    assert raised.value.has_begun


@pytest.mark.parametrize("is_stream", [True, False])
async def test_a_cancelled_request_ends_the_upstream_call(
    model_client: LiteLLMClient, upstream: Upstream, is_stream: bool
) -> None:
    task = asyncio.create_task(call(model_client, claude(upstream), is_stream))
    await upstream.call_started.wait()
    task.cancel()

    await upstream.was_left()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("model", ["claude", "gemini", "openai"])
async def test_closing_a_stream_ends_the_upstream_call(
    model_client: LiteLLMClient, upstream: Upstream, model: str
) -> None:
    part = {"content": {"parts": [{"text": "hi"}], "role": "model"}, "index": 0}
    arm, blocks = {
        "claude": (claude(upstream), text_events("hi")),
        "gemini": (
            upstream.arm("litellm", "gemini/gemini-3.8-flash"),
            [b"data: %s\r\n\r\n" % orjson.dumps({"candidates": [part]})],
        ),
        "openai": (upstream.arm("litellm", "openai/some-model"), [event(chunk_body("hi"))]),
    }[model]
    upstream.script = streams(*blocks, then=hang)
    stream = model_client.stream(arm, BODY, timeout_s=60)

    await anext(stream)
    await stream.aclose()

    await upstream.was_left()


async def test_any_openai_style_provider_works_too(model_client: LiteLLMClient, upstream: Upstream) -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    arm = upstream.arm("litellm", "openai/some-model")

    upstream.script = answers(completion("hi", usage=usage))
    answer = await model_client.complete(arm, BODY, timeout_s=20)
    upstream.script = streams(event(chunk_body("hi", finish_reason="stop")), b"data: [DONE]\n\n")
    chunks = await collected(model_client.stream(arm, BODY, timeout_s=20))

    assert answer.usage == Usage(prompt_tokens=7, completion_tokens=2)
    assert text_of(chunks) == "hi"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.estimated


async def test_an_unknown_provider_is_a_broken_provider(model_client: LiteLLMClient) -> None:
    with pytest.raises(ProviderBroken, match="no such provider"):
        await model_client.complete(Arm("a", "litellm", "nowhere/some-model"), BODY, timeout_s=20)


KEYLESS = [
    ("anthropic", "claude-sonnet-5-5", ""),
    ("litellm", "anthropic/claude-sonnet-5-5", ""),
    ("litellm", "openai/some-model", "/v1"),
    ("litellm", "custom_openai/some-model", "/v1"),
    ("litellm", "gemini/gemini-2.5-flash", ""),
]


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(("provider", "model", "path"), KEYLESS)
async def test_a_server_of_ones_own_is_called_without_a_key(
    model_client: LiteLLMClient,
    upstream: Upstream,
    provider: str,
    model: str,
    path: str,
    is_stream: bool,
) -> None:
    upstream.script = anthropic_refuses(418, "teapot")
    arm = replace(upstream.arm(provider, model, path), api_key_env=None)

    with pytest.raises(ProviderError) as raised:
        await call(model_client, arm, is_stream)

    assert raised.value.status == 418  # the server was asked
    assert "x-api-key" not in {name.lower() for name in upstream.headers[0]}


async def test_a_keyless_anthropic_arm_does_not_get_the_key_of_the_environment(
    model_client: LiteLLMClient, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-of-the-operator")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "of-the-operator")
    upstream.script = answers(message({"type": "text", "text": "hi"}))

    await model_client.complete(replace(claude(upstream), api_key_env=None), BODY, timeout_s=20)

    assert "of-the-operator" not in str(upstream.headers)
    assert not {"x-api-key", "authorization"} & {name.lower() for name in upstream.headers[0]}


async def test_a_key_that_litellm_finds_itself_is_not_replaced(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-found")
    model_client = LiteLLMClient({"OPENAI_API_KEY": "sk-found"}, lambda: NOW)
    upstream.script = answers(completion())

    arm = replace(upstream.arm("litellm", "openai/some-model"), api_key_env=None)
    await model_client.complete(arm, BODY, timeout_s=20)
    await model_client.close()

    assert upstream.headers[0]["Authorization"] == "Bearer sk-found"
