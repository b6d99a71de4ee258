from __future__ import annotations

import traceback
from collections.abc import AsyncIterator
from dataclasses import replace

import orjson
import pytest

from service.domain.answer import Usage
from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.query import Native
from service.errors import (
    ProviderBroken,
    ProviderError,
    ProviderOutOfCredit,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
)
from service.providers.anthropic import AnthropicClient
from tests.service.providers.scripted import (
    KEY,
    NOW,
    SECRETS,
    Script,
    Upstream,
    answers,
    collected,
    drop,
    hang,
    streams,
)

# Spaces, order, escapes, numbers and fields that a library would not write in exactly this way.
THINKING = rb'{"type": "thinking_delta",  "thinking":"h\u00fcm \ud83d\ude00 \/"}'
SIGNATURE = rb'{"type":"signature_delta","signature":"EqQB+/\u003d="}'
USAGE = {"input_tokens": 10, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 3}
COUNTED = Usage(prompt_tokens=18, cached_tokens=5, completion_tokens=4, cache_write_tokens=3)
BODY: Json = {
    "model": "auto",
    "max_tokens": 50,
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]},
        {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "hüm 😀\u2028", "signature": "EqQB+/=="}],
        },
        {"role": "user", "content": "Go on"},
    ],
    "system": [{"type": "text", "text": "x-anthropic-billing-header: cc_version=1"}],
    "a_field_of_tomorrow": {"b": [1, None]},
}
NATIVE = Native(BODY, {"anthropic-version": "2024-01-01", "anthropic-beta": "b-1,b-2"})


@pytest.fixture
async def model_client() -> AsyncIterator[AnthropicClient]:
    model_client = AnthropicClient(SECRETS, lambda: NOW)
    yield model_client
    await model_client.close()


def claude(upstream: Upstream) -> Arm:
    return upstream.arm("anthropic", "claude", path="")


def message(*content: Json, **more: object) -> Json:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-5",
        "content": list(content),
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": USAGE | {"output_tokens": 4},
    } | more


def event(kind: str, data: bytes) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), data)


def delta(raw: bytes, index: int = 0) -> bytes:
    data = b'{"type": "content_block_delta",  "index": %d, "delta": %s}' % (index, raw)
    return event("content_block_delta", data)


START = event(
    "message_start",
    orjson.dumps({"type": "message_start", "message": message(usage=USAGE | {"output_tokens": 1}), "x": 1}),
)
SAID = [
    event("ping", b'{"type": "ping"}'),
    event(
        "content_block_start",
        b'{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}',
    ),
    delta(THINKING),
    delta(SIGNATURE),
    event("content_block_stop", b'{"type":"content_block_stop","index":0}'),
    event("event_of_tomorrow", b'{"type":"event_of_tomorrow", "n":1.0}'),
    event(
        "content_block_start",
        b'{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}',
    ),
    delta(b'{"type":"text_delta","text":"I add."}', 1),
    event("content_block_stop", b'{"type":"content_block_stop","index":1}'),
    event(
        "content_block_start",
        b'{"type":"content_block_start","index":2,'
        b'"content_block":{"type":"tool_use","id":"toolu_1","name":"add","input":{}}}',
    ),
    delta(b'{"type":"input_json_delta","partial_json":""}', 2),
    delta(b'{"type":"input_json_delta","partial_json":"{\\"a\\": 1}"}', 2),
    event("content_block_stop", b'{"type":"content_block_stop","index":2}'),
]
ENDING = [
    event(
        "message_delta",
        b'{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":4}}',
    ),
    event("message_stop", b'{"type":"message_stop"}'),
]


async def call(model_client: AnthropicClient, arm: Arm, is_stream: bool, timeout_s: float = 20) -> None:
    if is_stream:
        await collected(model_client.stream(arm, NATIVE, timeout_s=timeout_s))
    else:
        await model_client.complete(arm, NATIVE, timeout_s=timeout_s)


# --- what goes up


@pytest.mark.parametrize("is_stream", [False, True])
async def test_the_request_goes_up_unchanged_under_the_upstreams_name(
    model_client: AnthropicClient, upstream: Upstream, is_stream: bool
) -> None:
    upstream.script = streams(START, *SAID, *ENDING) if is_stream else answers(message())

    await call(model_client, claude(upstream), is_stream)

    assert upstream.paths == ["/v1/messages"]
    assert upstream.bodies[0] == {**BODY, "model": "claude", "stream": is_stream}
    assert list(upstream.bodies[0])[:4] == list(BODY)[:4]
    headers = upstream.headers[0]
    assert (headers["anthropic-version"], headers["anthropic-beta"]) == ("2024-01-01", "b-1,b-2")
    assert headers["x-api-key"] == KEY


# --- what comes back


async def test_a_whole_message_comes_back_unchanged_under_the_arms_name(
    model_client: AnthropicClient, upstream: Upstream
) -> None:
    thinking = {"type": "thinking", "thinking": "hüm", "signature": "EqQB+/=="}
    use = {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 1}}
    sent = message(
        thinking, {"type": "text", "text": "I add."}, use, stop_reason="tool_use", container={"id": "c"}
    )
    upstream.script = answers(sent)

    answer = await model_client.complete(claude(upstream), NATIVE, timeout_s=20)

    assert answer.native == {**sent, "model": "an-arm"}
    assert answer.usage == COUNTED
    choice = answer.body["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == "I add."
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a":1}'}


async def test_events_come_back_byte_for_byte_except_for_the_name_of_the_model(
    model_client: AnthropicClient, upstream: Upstream
) -> None:
    upstream.script = streams(START, *SAID, *ENDING)

    chunks = await collected(model_client.stream(claude(upstream), NATIVE, timeout_s=20))

    first, *others = [chunk.native or b"" for chunk in chunks]
    assert others == SAID + ENDING
    assert first == START.replace(b'"claude-5"', b'"an-arm"')


async def test_the_chunks_of_a_stream_are_described_in_openais_terms(
    model_client: AnthropicClient, upstream: Upstream
) -> None:
    upstream.script = streams(START, *SAID, *ENDING)

    chunks = await collected(model_client.stream(claude(upstream), NATIVE, timeout_s=20))

    choices = [choice for chunk in chunks for choice in chunk.body["choices"]]
    assert [choice["delta"] for choice in choices] == [
        {"reasoning_content": "hüm 😀 /"},
        {"content": "I add."},
        {
            "tool_calls": [
                {
                    "index": 2,
                    "id": "toolu_1",
                    "type": "function",
                    "function": {"name": "add", "arguments": ""},
                }
            ]
        },
        {"tool_calls": [{"index": 2, "function": {"arguments": '{"a": 1}'}}]},
        {},
    ]
    assert choices[-1]["finish_reason"] == "tool_calls"
    assert chunks[-1].usage == COUNTED


async def test_the_prompts_usage_is_known_from_the_start(
    model_client: AnthropicClient, upstream: Upstream
) -> None:
    upstream.script = streams(START, then=hang)
    stream = model_client.stream(claude(upstream), NATIVE, timeout_s=20)

    [first] = await anext(stream)
    await stream.aclose()

    assert first.usage == replace(COUNTED, completion_tokens=1)


# --- failures


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (400, "invalid_request_error", ProviderRejected),
        (401, "authentication_error", ProviderBroken),
        (402, "billing_error", ProviderOutOfCredit),
        (404, "not_found_error", ProviderBroken),
        (413, "request_too_large", ProviderRejected),
        (429, "rate_limit_error", ProviderRateLimited),
        (500, "api_error", ProviderBroken),
        (504, "timeout_error", ProviderTimeout),
        (529, "overloaded_error", ProviderBroken),
    ],
)
@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("is_late", [False, True])
async def test_an_error_means_the_same_as_a_status_and_inside_a_stream(
    model_client: AnthropicClient,
    upstream: Upstream,
    status: int,
    kind: str,
    error: type[ProviderError],
    is_stream: bool,
    is_late: bool,
) -> None:
    body = {"type": "error", "error": {"type": kind, "message": "no"}}
    late = streams(START, event("error", orjson.dumps(body)))
    upstream.script = late if is_late and is_stream else answers(body, 200 if is_late else status)

    with pytest.raises(error) as raised:
        await call(model_client, claude(upstream), is_stream)

    assert type(raised.value) is error
    assert raised.value.status == status


@pytest.mark.parametrize(
    ("status", "kind", "message", "error"),
    [
        (429, "rate_limit_error", "You have reached your monthly spend limit.", ProviderOutOfCredit),
        (429, "rate_limit_error", "Number of requests has exceeded your limit.", ProviderRateLimited),
        (400, "invalid_request_error", "Your credit balance is too low to access it.", ProviderOutOfCredit),
        (400, "invalid_request_error", "x: Your credit balance is too low", ProviderRejected),
    ],
)
async def test_a_spend_limit_is_distinguished_from_other_refusals(
    model_client: AnthropicClient,
    upstream: Upstream,
    status: int,
    kind: str,
    message: str,
    error: type[ProviderError],
) -> None:
    upstream.script = answers({"type": "error", "error": {"type": kind, "message": message}}, status)

    with pytest.raises(ProviderError) as raised:
        await call(model_client, claude(upstream), is_stream=False)

    assert type(raised.value) is error


async def test_a_spend_limit_with_a_retry_after_is_a_rate_limit(
    model_client: AnthropicClient, upstream: Upstream
) -> None:
    body = {"type": "error", "error": {"type": "rate_limit_error", "message": "spend limit of this minute"}}
    upstream.script = answers(body, 429, headers={"Retry-After": "3"})

    with pytest.raises(ProviderRateLimited) as raised:
        await call(model_client, claude(upstream), is_stream=False)

    assert (type(raised.value), raised.value.retry_after_s) == (ProviderRateLimited, 3)


async def test_a_block_without_an_openai_equivalent_is_an_answer_too(
    model_client: AnthropicClient, upstream: Upstream
) -> None:
    search = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}
    upstream.script = answers(message(search))
    whole = await model_client.complete(claude(upstream), NATIVE, timeout_s=20)
    start = {"type": "content_block_start", "index": 0, "content_block": search}
    upstream.script = streams(START, event("content_block_start", orjson.dumps(start)), *ENDING)
    chunks = await collected(model_client.stream(claude(upstream), NATIVE, timeout_s=20))

    assert whole.body["choices"][0]["message"]["blocks"] == ["server_tool_use"]
    assert chunks[1].body["choices"][0]["delta"] == {"blocks": ["server_tool_use"]}


async def test_a_prompt_too_long_may_fit_another_model(
    model_client: AnthropicClient, upstream: Upstream
) -> None:
    error = {"type": "invalid_request_error", "message": "prompt is too long: 210000 tokens > 200000 maximum"}
    upstream.script = answers({"type": "error", "error": error}, 400)

    with pytest.raises(ProviderRejected) as raised:
        await call(model_client, claude(upstream), False)

    assert raised.value.is_limit_of_one_model


@pytest.mark.parametrize(
    "then",
    [
        streams(START, *SAID, *ENDING, b"data: [DONE]\n\n"),
        streams(START, *SAID, *ENDING, ENDING[-1], b"data: no json\n\n"),
        streams(START, *SAID, *ENDING, then=hang),
        streams(START, *SAID, *ENDING, then=drop),
    ],
    ids=["done", "a second end", "silence", "a lost connection"],
)
async def test_data_after_the_end_of_a_message_is_ignored(
    model_client: AnthropicClient, upstream: Upstream, then: Script
) -> None:
    upstream.script = then

    chunks = await collected(model_client.stream(claude(upstream), NATIVE, timeout_s=20))

    assert chunks[-1].native == ENDING[-1]
    assert chunks[-1].usage == COUNTED


async def test_a_finished_message_leaves_its_connection_to_the_next(
    model_client: AnthropicClient, upstream: Upstream
) -> None:
    upstream.script = streams(START, *SAID, *ENDING)

    for _ in range(3):
        await collected(model_client.stream(claude(upstream), NATIVE, timeout_s=5))

    assert len(upstream.connections) == 1


@pytest.mark.parametrize(
    "script",
    [
        streams(START, *SAID),
        streams(START, *SAID, then=drop),
        streams(START, event("x", b"no json")),
        streams(),
        answers(b"<html>"),
    ],
    ids=["cut off", "dropped", "no json", "empty", "no stream"],
)
async def test_a_stream_that_is_not_whole_raises(
    model_client: AnthropicClient, upstream: Upstream, script: object
) -> None:
    upstream.script = script  # type: ignore[assignment]

    with pytest.raises(ProviderBroken):
        await call(model_client, claude(upstream), True)


@pytest.mark.parametrize("script", [hang, streams(START, then=hang)], ids=["silent", "after the start"])
async def test_a_stream_that_stays_silent_raises(
    model_client: AnthropicClient, upstream: Upstream, script: object
) -> None:
    upstream.script = script  # type: ignore[assignment]

    with pytest.raises(ProviderTimeout):
        await call(model_client, claude(upstream), True, timeout_s=0.2)


@pytest.mark.parametrize("body", [b"{", {"type": "message"}, [], {"content": "x"}], ids=range(4))
async def test_an_answer_that_is_no_message_raises(
    model_client: AnthropicClient, upstream: Upstream, body: object
) -> None:
    upstream.script = answers(body)

    with pytest.raises(ProviderBroken, match="something other than"):
        await call(model_client, claude(upstream), False)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_nested_too_deeply_to_be_passed_on_raises(
    model_client: AnthropicClient, upstream: Upstream, stream: bool
) -> None:
    block = b'{"type": "tool_use", "id": "t", "name": "f", "input": ' + b'{"a":' * 300 + b"1" + b"}" * 301
    whole = b'{"type": "message", "content": [' + block + b"]}"
    first = b'event: message_start\ndata: {"type": "message_start", "message": ' + whole + b"}\n\n"
    upstream.script = streams(first) if stream else answers(whole)

    with pytest.raises(ProviderBroken, match="something other than"):
        await call(model_client, claude(upstream), stream)


async def test_unreported_usage_is_estimated(model_client: AnthropicClient, upstream: Upstream) -> None:
    upstream.script = answers(message({"type": "text", "text": "x" * 36}, usage={}))

    answer = await model_client.complete(claude(upstream), NATIVE, timeout_s=20)

    assert answer.usage.estimated
    assert answer.usage.completion_tokens == 9


async def test_closing_the_stream_ends_the_upstreams_work(
    model_client: AnthropicClient, upstream: Upstream
) -> None:
    upstream.script = streams(START, *SAID, then=hang)
    stream = model_client.stream(claude(upstream), NATIVE, timeout_s=20)
    await anext(stream)

    await stream.aclose()

    await upstream.was_left()


async def test_the_key_is_in_no_error(model_client: AnthropicClient, upstream: Upstream) -> None:
    error = {"type": "invalid_request_error", "message": f"bad key {KEY}"}
    upstream.script = answers({"type": "error", "error": error}, 400)

    with pytest.raises(ProviderRejected) as raised:
        await call(model_client, claude(upstream), False)

    assert KEY not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_server_of_ones_own_is_called_without_a_key(
    model_client: AnthropicClient, upstream: Upstream, is_stream: bool
) -> None:
    upstream.script = answers({"type": "error", "error": {"type": "teapot", "message": "no"}}, 418)
    arm = replace(claude(upstream), api_key_env=None)

    whole, stream = model_client.complete, model_client.stream
    with pytest.raises(ProviderError, match="418"):
        await (collected(stream(arm, NATIVE, timeout_s=5)) if is_stream else whole(arm, NATIVE, timeout_s=5))

    assert not {"x-api-key", "authorization"} & {name.lower() for name in upstream.headers[0]}
