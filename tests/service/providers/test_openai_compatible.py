from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import AsyncIterator
from dataclasses import replace

import orjson
import pytest
from aiohttp import web

from service.domain.answer import Usage
from service.domain.arm import Arm
from service.domain.basics import Json
from service.errors import (
    ProviderBroken,
    ProviderError,
    ProviderOutOfCredit,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
)
from service.providers.openai_compatible import OpenAICompatibleClient
from tests.service.provider_faults import plainly
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
    refuses,
    streams,
    text_of,
)

USAGE = {
    "prompt_tokens": 12,
    "completion_tokens": 3,
    "total_tokens": 15,
    "prompt_tokens_details": {"cached_tokens": 4},
}
DONE = b"data: [DONE]\n\n"


@pytest.fixture
async def model_client() -> AsyncIterator[OpenAICompatibleClient]:
    model_client = OpenAICompatibleClient(SECRETS, lambda: NOW)
    yield model_client
    await model_client.close()


# --- what goes up


async def test_the_upstream_gets_its_own_model_name_and_the_key(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    upstream.script = answers(completion())

    await model_client.complete(upstream.arm(model="org/model"), BODY, timeout_s=5)

    assert upstream.paths == ["/v1/chat/completions"]
    assert upstream.bodies[0] == {"model": "org/model", "messages": BODY["messages"], "stream": False}
    assert upstream.headers[0]["Authorization"] == f"Bearer {KEY}"


async def test_a_stream_always_asks_for_usage(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    upstream.script = streams(event(chunk_body("hi", finish_reason="stop")), DONE)
    body = BODY | {"stream": True, "stream_options": {"include_usage": False, "include_obfuscation": False}}

    await collected(model_client.stream(upstream.arm(), body, timeout_s=5))

    assert upstream.bodies[0]["stream"] is True
    assert upstream.bodies[0]["stream_options"] == {"include_usage": True, "include_obfuscation": False}


async def test_an_arm_without_a_key_variable_sends_none(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    upstream.script = answers(completion())
    arm = Arm("a", "openai", "llama", base_url=f"{upstream.base_url}/v1")

    await model_client.complete(arm, BODY, timeout_s=5)

    assert "Authorization" not in upstream.headers[0]


async def test_a_missing_key_is_reported_before_anything_is_sent(upstream: Upstream) -> None:
    model_client = OpenAICompatibleClient({}, lambda: NOW)

    with pytest.raises(ProviderBroken, match="UPSTREAM_KEY is not set"):
        await model_client.complete(upstream.arm(), BODY, timeout_s=5)

    assert upstream.bodies == []
    await model_client.close()


# --- whole answers


async def test_a_whole_answer_comes_back_unchanged(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    sent = completion("hi", usage=USAGE, system_fingerprint="fp", x_extension=[1])
    upstream.script = answers(sent)

    answer = await model_client.complete(upstream.arm(), BODY, timeout_s=5)

    assert answer.body == sent
    assert answer.usage == Usage(prompt_tokens=12, cached_tokens=4, completion_tokens=3)


async def test_unreported_usage_is_estimated(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    upstream.script = answers(completion("four by four is sixteen"))

    answer = await model_client.complete(upstream.arm(), BODY, timeout_s=5)

    assert answer.usage.estimated
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.completion_tokens > 0


@pytest.mark.parametrize(
    "nonsense",
    [
        *(
            b"<html>",
            b"",
            b"{",
            [],
            None,
            {},
            {"choices": []},
            {"choices": [{"index": 0}]},
            {"choices": "many"},
        ),
        {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}, "more"]},
        {"choices": [{"message": 7, "finish_reason": "stop"}]},
    ],
)
async def test_a_200_that_is_no_completion_is_a_broken_provider(
    model_client: OpenAICompatibleClient, upstream: Upstream, nonsense: object
) -> None:
    upstream.script = answers(nonsense)

    with pytest.raises(ProviderBroken, match="something other than a chat completion"):
        await model_client.complete(upstream.arm(), BODY, timeout_s=5)


async def test_an_answer_nested_too_deeply_to_be_passed_on_is_a_broken_provider(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    deep = json.loads("[" * 245 + "]" * 245)  # orjson does not write a few levels more

    upstream.script = answers(json.dumps(completion("hi", extra=deep)).encode())
    with pytest.raises(ProviderBroken):
        await model_client.complete(upstream.arm(), BODY, timeout_s=5)

    last = json.dumps(chunk_body("hi", finish_reason="stop", extra=deep)).encode()
    upstream.script = streams(b"data: " + last + b"\n\n", DONE)
    with pytest.raises(ProviderBroken):
        await collected(model_client.stream(upstream.arm(), BODY, timeout_s=5))


async def test_a_byte_order_mark_before_an_answer_is_ignored(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    upstream.script = answers(b"\xef\xbb\xbf" + orjson.dumps(completion("hi")))

    answer = await model_client.complete(upstream.arm(), BODY, timeout_s=5)

    assert answer.body["choices"][0]["message"]["content"] == "hi"


async def test_an_error_in_a_200_counts_as_that_error(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    upstream.script = answers({"error": {"message": "slow down", "code": 429}})

    with pytest.raises(ProviderRateLimited, match="slow down"):
        await model_client.complete(upstream.arm(), BODY, timeout_s=5)


async def test_an_endless_answer_is_cut_off(model_client: OpenAICompatibleClient, upstream: Upstream) -> None:
    block = b" " * 2**22
    upstream.script = streams(*[block] * 9, then=hang)

    with pytest.raises(ProviderBroken, match="more than"):
        await model_client.complete(upstream.arm(), BODY, timeout_s=20)


# --- refusals


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_refused_request_keeps_the_providers_message(
    model_client: OpenAICompatibleClient, upstream: Upstream, status: int
) -> None:
    upstream.script = refuses(status, "too long", param="messages", code="context_length_exceeded")

    with pytest.raises(ProviderRejected) as raised:
        await model_client.complete(upstream.arm(), BODY, timeout_s=5)

    assert str(raised.value) == "too long"
    assert (raised.value.status, raised.value.param) == (status, "messages")
    assert raised.value.code == "context_length_exceeded"


@pytest.mark.parametrize("status", [301, 302, 401, 403, 404, 409, 418, 500, 502, 503, 529])
async def test_an_answer_that_does_not_blame_the_request_is_a_broken_provider(
    model_client: OpenAICompatibleClient, upstream: Upstream, status: int
) -> None:
    upstream.script = answers(b"<html>", status, {"Location": f"{upstream.base_url}/elsewhere"})

    with pytest.raises(ProviderBroken) as raised:
        await model_client.complete(upstream.arm(), BODY, timeout_s=5)

    assert raised.value.status == status
    assert upstream.paths == ["/v1/chat/completions"]  # no redirect is followed


@pytest.mark.parametrize(
    ("status", "error", "code", "is_limit_of_one_model"),
    [
        (404, {"message": "No endpoints found that support tool use."}, "unsupported_parameter", True),
        (
            403,
            {"metadata": {"reasons": ["violence"], "flagged_input": "how"}},
            "content_policy_violation",
            False,
        ),
    ],
    ids=["cannot do it", "should not be asked"],
)
async def test_a_refusal_of_openrouters_is_no_failure_of_the_model(
    model_client: OpenAICompatibleClient,
    upstream: Upstream,
    status: int,
    error: Json,
    code: str,
    is_limit_of_one_model: bool,
) -> None:
    upstream.script = refuses(status, **{"message": "no", "code": status, **error})

    with pytest.raises(ProviderRejected) as raised:
        await model_client.complete(upstream.arm(), BODY, timeout_s=5)

    assert (raised.value.status, raised.value.code) == (400, code)
    assert raised.value.is_limit_of_one_model is is_limit_of_one_model


async def test_a_request_too_large_for_a_proxy_before_the_model_is_no_failure_of_the_model(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    upstream.script = answers(b"<html>413 Request Entity Too Large</html>", 413)

    with pytest.raises(ProviderRejected) as raised:
        await model_client.complete(upstream.arm(), BODY, timeout_s=5)

    assert (raised.value.status, raised.value.code) == (413, "request_too_large")
    assert raised.value.is_limit_of_one_model


@pytest.mark.parametrize(
    "error",
    [{"param": "model"}, {"code": "model_not_found"}, {"message": "x/y is not a valid model ID"}],
)
async def test_a_rejected_model_name_is_never_the_requests_fault(
    model_client: OpenAICompatibleClient, upstream: Upstream, error: Json
) -> None:
    upstream.script = refuses(400, **error)

    with pytest.raises(ProviderBroken):
        await model_client.complete(upstream.arm(), BODY, timeout_s=5)


@pytest.mark.parametrize("status", [408, 504])
async def test_an_upstreams_own_timeout_is_a_timeout(
    model_client: OpenAICompatibleClient, upstream: Upstream, status: int
) -> None:
    upstream.script = refuses(status)

    with pytest.raises(ProviderTimeout):
        await model_client.complete(upstream.arm(), BODY, timeout_s=5)


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "Retry-After": "1"}, 0.25),
        ({"Retry-After": "Fri, 20 Nov 2026 12:01:30 GMT"}, 90),
        ({"Retry-After": "Fri, 20 Nov 2020 12:01:30 GMT"}, 0),
        ({"Retry-After": "99999999"}, 3600),
        ({"Retry-After": "-3"}, 0),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize("status", [402, 429])
async def test_a_rate_limit_has_the_time_to_wait(
    model_client: OpenAICompatibleClient,
    upstream: Upstream,
    status: int,
    headers: dict[str, str],
    wait_s: float | None,
) -> None:
    upstream.script = refuses(status, headers=headers)

    with pytest.raises(ProviderRateLimited) as raised:
        await model_client.complete(upstream.arm(), BODY, timeout_s=5)

    assert raised.value.retry_after_s == wait_s
    assert raised.value.status == status


@pytest.mark.parametrize("status", [200, 400, 401, 403, 429, 500])
async def test_the_key_is_in_no_error(
    model_client: OpenAICompatibleClient, upstream: Upstream, status: int
) -> None:
    upstream.script = refuses(status, f"bad key {KEY}")

    with pytest.raises(ProviderError) as raised:
        await model_client.complete(upstream.arm(), BODY, timeout_s=5)

    assert KEY not in "".join(traceback.format_exception(raised.value))
    assert KEY not in repr(raised.value)


async def test_the_error_for_a_garbled_response_contains_no_key(model_client: OpenAICompatibleClient) -> None:
    async def garble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"what?\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(garble, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        arm = Arm("a", "openai", "m", base_url=f"http://127.0.0.1:{port}", api_key_env="UPSTREAM_KEY")
        with pytest.raises(ProviderBroken) as raised:
            await model_client.complete(arm, BODY, timeout_s=5)

    assert raised.value.__cause__ is None
    assert KEY not in str(raised.value)


# --- silence and lost connections


async def test_a_silent_upstream_times_out(model_client: OpenAICompatibleClient, upstream: Upstream) -> None:
    with pytest.raises(ProviderTimeout, match=r"within 0\.3 s"):
        await model_client.complete(upstream.arm(), BODY, timeout_s=0.3)

    await upstream.was_left()


async def test_a_refused_connection_is_a_broken_provider(model_client: OpenAICompatibleClient) -> None:
    async with await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]

    with pytest.raises(ProviderBroken, match="connection"):
        await model_client.complete(Arm("a", "openai", "m", f"http://127.0.0.1:{port}"), BODY, timeout_s=5)


async def test_a_lost_connection_is_a_broken_provider(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    upstream.script = drop

    with pytest.raises(ProviderBroken, match="connection"):
        await model_client.complete(upstream.arm(), BODY, timeout_s=5)


@pytest.mark.parametrize("is_stream", [True, False])
async def test_a_request_cancelled_before_the_answer_ends_the_upstream_call(
    model_client: OpenAICompatibleClient, upstream: Upstream, is_stream: bool
) -> None:
    async def ask() -> None:
        if is_stream:
            await collected(model_client.stream(upstream.arm(), BODY, timeout_s=60))
        await model_client.complete(upstream.arm(), BODY, timeout_s=60)

    task = asyncio.create_task(ask())
    await upstream.call_started.wait()
    task.cancel()

    await upstream.was_left()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_closing_a_stream_ends_the_upstream_call(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    upstream.script = streams(event(chunk_body("hi")), then=hang)
    stream = model_client.stream(upstream.arm(), BODY, timeout_s=60)

    await anext(stream)
    await stream.aclose()

    await upstream.was_left()


# --- streams


async def test_a_stream_has_its_chunks_and_ends_with_usage(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    usage_chunk = chunk_body(usage=USAGE) | {"choices": []}
    upstream.script = streams(
        event(chunk_body("Hel", usage=None)),
        event(chunk_body("lo")),
        event(chunk_body(finish_reason="stop")),
        event(usage_chunk),
        DONE,
    )

    chunks = await collected(model_client.stream(upstream.arm(), BODY, timeout_s=5))

    assert text_of(chunks) == "Hello"
    assert [chunk.usage for chunk in chunks[:-1]] == [None, None, None]
    assert all("usage" not in chunk.body for chunk in chunks[:-1])
    assert chunks[-1].usage == Usage(prompt_tokens=12, cached_tokens=4, completion_tokens=3)
    assert chunks[-1].body == usage_chunk


async def test_usage_on_every_chunk_is_reported_once(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    upstream.script = streams(
        event(chunk_body("a", usage={"prompt_tokens": 9, "completion_tokens": 1})),
        event(chunk_body("b", finish_reason="stop", usage={"prompt_tokens": 9, "completion_tokens": 2})),
        DONE,
    )

    chunks = await collected(model_client.stream(upstream.arm(), BODY, timeout_s=5))

    assert [chunk.usage for chunk in chunks] == [None, None, Usage(prompt_tokens=9, completion_tokens=2)]
    assert chunks[-1].body["choices"] == []


async def test_a_stream_without_usage_gets_an_estimate(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    upstream.script = streams(event(chunk_body("hello there", finish_reason="stop")), DONE)

    chunks = await collected(model_client.stream(upstream.arm(), BODY, timeout_s=5))

    assert chunks[-1].usage is not None
    assert chunks[-1].usage.estimated
    assert chunks[-1].body["usage"]["completion_tokens"] == 3


async def test_a_stream_may_end_without_done(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    upstream.script = streams(event(chunk_body("hi", finish_reason="stop"))[:-2])

    chunks = await collected(model_client.stream(upstream.arm(), BODY, timeout_s=5))

    assert text_of(chunks) == "hi"


async def test_a_finished_stream_leaves_its_connection_to_the_next(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    upstream.script = streams(event(chunk_body("hi", finish_reason="stop")), DONE)

    for _ in range(3):
        await collected(model_client.stream(upstream.arm(), BODY, timeout_s=5))

    assert len(upstream.connections) == 1


async def test_an_upstream_that_keeps_the_connection_after_done_delays_nothing(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    upstream.script = streams(event(chunk_body("hi", finish_reason="stop")), DONE, then=hang)

    chunks = await collected(model_client.stream(upstream.arm(), BODY, timeout_s=20))

    assert text_of(chunks) == "hi"
    await upstream.was_left()


@pytest.mark.parametrize("done", [b"data: [DONE] \n\n", b"data:[DONE]\n\n", b"data: [DONE]"])
async def test_variants_of_done_end_the_stream(
    model_client: OpenAICompatibleClient, upstream: Upstream, done: bytes
) -> None:
    upstream.script = streams(event(chunk_body("hi", finish_reason="stop")), done)

    chunks = await collected(model_client.stream(upstream.arm(), BODY, timeout_s=5))

    assert text_of(chunks) == "hi"


@pytest.mark.parametrize(
    "blocks",
    [
        [],
        [DONE],
        [b": ping\n\n"],
        [event(chunk_body("hi"))],
        [event(chunk_body("")), DONE],
        [event(chunk_body("hi")), event(chunk_body(finish_reason="stop"))[:40]],
        [event(chunk_body("hi")), b"data: {nonsense\n\n"],
        [event(chunk_body("hi")), event([1])],
        [event({"hello": "world"})],
        [event(chunk_body("hi")), event(chunk_body(finish_reason="error"))],
        [
            event(chunk_body("hi")),
            event(chunk_body() | {"choices": [{"delta": {}, "finish_reason": {"type": "abort"}}]}),
        ],
        [event(chunk_body("hi")), event({"error": {"message": "overloaded"}})],
    ],
)
async def test_a_stream_that_breaks_off_never_looks_complete(
    model_client: OpenAICompatibleClient, upstream: Upstream, blocks: list[bytes]
) -> None:
    upstream.script = streams(*blocks)

    with pytest.raises(ProviderBroken):
        await collected(model_client.stream(upstream.arm(), BODY, timeout_s=5))


async def test_a_choice_that_did_not_finish_makes_the_stream_incomplete(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    second = {"index": 1, "delta": {"content": "x"}, "finish_reason": None}
    upstream.script = streams(
        event(chunk_body(choices=[second])), event(chunk_body("hi", finish_reason="stop")), DONE
    )

    with pytest.raises(ProviderBroken, match="before its answer was complete"):
        await collected(model_client.stream(upstream.arm(), BODY, timeout_s=5))


async def test_a_connection_lost_in_a_stream_is_a_broken_provider(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    upstream.script = streams(event(chunk_body("hi")), then=drop)
    stream = model_client.stream(upstream.arm(), BODY, timeout_s=5)

    first = await anext(stream)
    with pytest.raises(ProviderBroken, match="connection"):
        await anext(stream)

    assert text_of(list(first)) == "hi"


@pytest.mark.parametrize("then", [drop, hang], ids=["lost", "silent"])
async def test_an_answer_that_lacks_only_the_end_marker_is_whole(
    model_client: OpenAICompatibleClient, upstream: Upstream, then: Script
) -> None:
    upstream.script = streams(event(chunk_body("hi", finish_reason="stop")), then=then)

    chunks = await collected(model_client.stream(upstream.arm(), BODY, timeout_s=1))

    assert text_of(chunks) == "hi"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.estimated


@pytest.mark.parametrize(
    "choices",
    [
        [{"index": 1, "delta": {"content": "x"}, "finish_reason": None}],
        [],
    ],
    ids=["begun", "to come"],
)
async def test_a_connection_lost_before_every_choice_has_ended_is_a_broken_provider(
    model_client: OpenAICompatibleClient, upstream: Upstream, choices: list[Json]
) -> None:
    upstream.script = streams(
        event(chunk_body(choices=choices)), event(chunk_body("hi", finish_reason="stop")), then=drop
    )

    with pytest.raises(ProviderBroken, match="connection"):
        await collected(model_client.stream(upstream.arm(), {**BODY, "n": 2}, timeout_s=5))


async def answered(model_client: OpenAICompatibleClient, arm: Arm, is_stream: bool) -> None:
    if is_stream:
        await collected(model_client.stream(arm, BODY, timeout_s=20))
    else:
        await model_client.complete(arm, BODY, timeout_s=20)


def later(
    *blocks: bytes, every_s: float, then: Script | None = None, kind: str = "text/event-stream"
) -> Script:
    """Send each block after a pause."""

    async def script(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        for block in blocks:
            await asyncio.sleep(every_s)
            await response.write(block)
        return response if then is None else await then(request)

    return script


LIFE = {
    "comments": b": OPENROUTER PROCESSING\n\n",
    "bare comments": b":\n",
    "blank lines": b"\n",
    "named pings": b"event: ping\n\n",
}


@pytest.mark.parametrize("life", LIFE.values(), ids=LIFE)
@pytest.mark.parametrize("before", [True, False], ids=["before the answer", "during the answer"])
async def test_every_byte_of_the_provider_breaks_its_silence(
    model_client: OpenAICompatibleClient, upstream: Upstream, life: bytes, before: bool
) -> None:
    arm = replace(upstream.arm(), timeout_s=0.5)
    begin = [] if before else [event(chunk_body("hi"))]
    end = [event(chunk_body("hi", finish_reason="stop")), DONE]
    upstream.script = later(*begin, *[life] * 4, *end, every_s=0.25)

    chunks = await collected(model_client.stream(arm, BODY, timeout_s=20))

    assert text_of(chunks) == ("hi" if before else "hihi")


@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
async def test_white_space_before_a_whole_answer_breaks_the_silence(
    model_client: OpenAICompatibleClient, upstream: Upstream, kind: str
) -> None:
    arm = replace(upstream.arm(), timeout_s=0.5)
    upstream.script = later(*[b"\n"] * 4, orjson.dumps(completion("hi")), every_s=0.25, kind=kind)

    answer = await model_client.complete(arm, BODY, timeout_s=20)

    assert answer.body["choices"][0]["message"]["content"] == "hi"


async def test_a_whole_answer_may_take_as_long_as_the_request(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    assert upstream.arm().patience_s(stream=False) is None
    assert upstream.arm().patience_s(stream=True) == 60


async def test_signs_of_life_do_not_extend_the_time_for_the_whole_answer(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    upstream.script = later(*[b" "] * 100, every_s=0.05, kind="application/json")

    with pytest.raises(ProviderTimeout, match=r"gave no answer within 0\.5 s"):
        await model_client.complete(upstream.arm(), BODY, timeout_s=0.5)

    await upstream.was_left()


@pytest.mark.parametrize("n_blocks", [0, 1], ids=["before the first byte", "after some"])
@pytest.mark.parametrize("is_stream", [True, False])
async def test_a_provider_that_falls_silent_times_out(
    model_client: OpenAICompatibleClient, upstream: Upstream, is_stream: bool, n_blocks: int
) -> None:
    arm = replace(upstream.arm(), timeout_s=0.3)
    kind = "text/event-stream" if is_stream else "application/json"
    upstream.script = later(*[b" \n"] * n_blocks, every_s=0.01, then=hang, kind=kind) if n_blocks else hang

    with pytest.raises(ProviderTimeout, match=r"sent nothing for 0\.3 s") as raised:
        await answered(model_client, arm, is_stream)

    assert raised.value.has_begun
    await upstream.was_left()


async def test_an_error_inside_a_stream_keeps_its_meaning(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    upstream.script = streams(event({"error": {"message": "bad image", "code": 400}}))

    with pytest.raises(ProviderRejected, match="bad image"):
        await collected(model_client.stream(upstream.arm(), BODY, timeout_s=5))


async def test_a_refused_stream_raises_before_its_first_chunk(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    upstream.script = refuses(429, headers={"Retry-After": "3"})

    with pytest.raises(ProviderRateLimited) as raised:
        await anext(model_client.stream(upstream.arm(), BODY, timeout_s=5))

    assert raised.value.retry_after_s == 3


@pytest.mark.parametrize(("status", "code"), [(402, None), (429, "insufficient_quota")])
async def test_an_account_without_credit_is_distinguished_from_a_rate_limit(
    model_client: OpenAICompatibleClient, upstream: Upstream, status: int, code: str | None
) -> None:
    upstream.script = refuses(status, code=code)

    with pytest.raises(ProviderOutOfCredit, match="has no credit"):
        await model_client.complete(upstream.arm(), BODY, timeout_s=5)


async def test_the_answer_of_an_upstream_that_does_not_stream_is_split_into_chunks(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    whole = completion("hi", usage=USAGE, service_tier="flex")
    whole["choices"][0]["message"]["tool_calls"] = [call]
    upstream.script = answers(whole)

    chunks = await collected(model_client.stream(upstream.arm(), BODY, timeout_s=5))

    assert text_of(chunks) == "hi"
    deltas = [choice["delta"] for chunk in chunks for choice in chunk.body["choices"]]
    assert deltas[0] == {"role": "assistant", "content": "hi", "tool_calls": [{"index": 0, **call}]}
    assert chunks[-2].body["choices"][0]["finish_reason"] == "tool_calls"
    assert chunks[-1].usage == Usage(prompt_tokens=12, cached_tokens=4, completion_tokens=3)
    assert {(c.body["object"], c.body["service_tier"]) for c in chunks} == {("chat.completion.chunk", "flex")}


async def test_an_upstream_that_never_ends_its_whole_answer_times_out(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    upstream.script = plainly(b'{"id":', hang)

    with pytest.raises(ProviderTimeout):
        await collected(model_client.stream(upstream.arm(), BODY, timeout_s=0.2))

    await upstream.was_left()


async def test_a_stream_answered_with_an_error_document_raises_that_error(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    upstream.script = answers({"error": {"message": "no credit", "code": 402}})

    with pytest.raises(ProviderRateLimited, match="no credit"):
        await anext(model_client.stream(upstream.arm(), BODY, timeout_s=5))
