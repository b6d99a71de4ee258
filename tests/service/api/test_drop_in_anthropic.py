"""The official Anthropic client with nothing but its base URL changed, against arms of either dialect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import anthropic
import httpx
import numpy as np
import orjson
import pytest
from aiohttp import web
from anthropic import Anthropic, AsyncAnthropic
from anthropic.types import Message, MessageParam, ToolParam

from service.domain.arm import Arm
from service.providers.clients import ProviderClients, build_provider_clients
from service.providers.simulator.simulator import SimulatedClient
from tests.service.providers.scripted import (
    NOW,
    SECRETS,
    Script,
    Upstream,
    answers,
    chunk_body,
    completion,
    drop,
    hang,
    refuses,
    streams,
)
from tests.service.providers.scripted import event as openai_event
from tests.service.providers.scripted import (
    serving as serving_upstream,
)
from tests.service.providers.test_anthropic import ENDING, SAID, START, message
from tests.service.served import serving
from tests.service.world import World, opened

HI: list[MessageParam] = [{"role": "user", "content": "Hi"}]
ADD: ToolParam = {"name": "add", "input_schema": {"type": "object"}}
CALLS = {
    "role": "assistant",
    "content": "I add.",
    "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    ],
}
USAGE = {"prompt_tokens": 18, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 5}}


def openai_stream(*deltas: dict[str, object], finish_reason: str = "stop") -> list[bytes]:
    chunks = [chunk_body(choices=[{"index": 0, "delta": d, "finish_reason": None}]) for d in deltas]
    end = [chunk_body(finish_reason=finish_reason), chunk_body(choices=[], usage=USAGE)]
    return [*(openai_event(chunk) for chunk in [*chunks, *end]), b"data: [DONE]\n\n"]


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with serving_upstream() as upstream:
        yield upstream


@pytest.fixture
async def world(tmp_path: Path, upstream: Upstream) -> AsyncIterator[World]:
    """One arm of each dialect; a test chooses one by its name."""
    arms = [
        Arm("gpt", "openai", "gpt-5", base_url=f"{upstream.base_url}/v1"),
        Arm("claude", "anthropic", "claude-5", base_url=upstream.base_url, api_key_env="UPSTREAM_KEY"),
    ]
    async with opened(tmp_path, arms) as world:
        provider_clients: ProviderClients = build_provider_clients(
            SECRETS, lambda: NOW, simulator=SimulatedClient()
        )
        world.parts.completion = replace(world.parts.completion, model_client=provider_clients)
        yield world
        await provider_clients.close()


@pytest.fixture
async def url(world: World) -> AsyncIterator[str]:
    async with serving(world) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
async def client(url: str) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(base_url=url, api_key="anything", max_retries=0) as client:
        yield client


# --- a model of another vendor


async def test_a_message_reads_like_anthropics(client: AsyncAnthropic, upstream: Upstream) -> None:
    upstream.script = answers(completion("Hello there.", usage=USAGE))

    answer = await client.messages.create(model="gpt", max_tokens=50, system="Be brief.", messages=HI)

    assert [block.type == "text" and block.text for block in answer.content] == ["Hello there."]
    assert (answer.type, answer.role, answer.model, answer.stop_reason) == (
        "message",
        "assistant",
        "gpt",
        "end_turn",
    )
    assert (answer.usage.input_tokens, answer.usage.cache_read_input_tokens, answer.usage.output_tokens) == (
        13,
        5,
        4,
    )
    assert upstream.paths == ["/v1/chat/completions"]
    assert upstream.bodies[0]["messages"][0] == {"role": "system", "content": "Be brief."}


async def test_the_stream_helper_adds_events_up_to_the_message(
    client: AsyncAnthropic, upstream: Upstream
) -> None:
    upstream.script = streams(*openai_stream({"content": "Hello"}, {"content": " there."}))

    async with client.messages.stream(model="gpt", max_tokens=50, messages=HI) as stream:
        texts = [text async for text in stream.text_stream]
        answer = await stream.get_final_message()

    assert texts == ["Hello", " there."]
    assert answer.stop_reason == "end_turn"
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (13, 4)


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_tool_goes_out_comes_back_and_is_answered(
    client: AsyncAnthropic, upstream: Upstream, is_stream: bool
) -> None:
    use = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": ""}}
    called = openai_stream(
        {"content": "I add."},
        {"tool_calls": [{"index": 0, **use}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": " 1}"}}]},
        finish_reason="tool_calls",
    )
    choice = {"index": 0, "message": CALLS, "finish_reason": "tool_calls"}
    upstream.script = streams(*called) if is_stream else answers(completion(choices=[choice]))
    answer: Message
    if is_stream:
        async with client.messages.stream(model="gpt", max_tokens=50, messages=HI, tools=[ADD]) as stream:
            answer = await stream.get_final_message()
    else:
        answer = await client.messages.create(model="gpt", max_tokens=50, messages=HI, tools=[ADD])

    assert answer.stop_reason == "tool_use"
    text, tool = answer.content
    assert text.type == "text"
    assert tool.type == "tool_use"
    assert (tool.id, tool.name, tool.input) == ("call_1", "add", {"a": 1})

    upstream.script = answers(completion("One."))
    turn: list[MessageParam] = [
        *HI,
        {"role": "assistant", "content": answer.content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": tool.id, "content": "1"}]},
    ]
    await client.messages.create(model="gpt", max_tokens=50, messages=turn, tools=[ADD])

    assistant, result = upstream.bodies[1]["messages"][1:]
    assert assistant["tool_calls"][0]["id"] == result["tool_call_id"] == "call_1"
    assert orjson.loads(assistant["tool_calls"][0]["function"]["arguments"]) == {"a": 1}
    assert result == {"role": "tool", "tool_call_id": "call_1", "content": "1"}


def test_the_synchronous_client_works_as_well(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving_upstream() as upstream:
            arm = Arm("gpt", "openai", "gpt-5", base_url=f"{upstream.base_url}/v1")
            upstream.script = streams(*openai_stream({"content": "Hello"}))
            async with opened(tmp_path, [arm]) as world:
                provider_clients = build_provider_clients({}, lambda: NOW, simulator=SimulatedClient())
                world.parts.completion = replace(world.parts.completion, model_client=provider_clients)
                async with serving(world) as port:
                    text = await asyncio.to_thread(ask, f"http://127.0.0.1:{port}")
                await provider_clients.close()
        assert text == "Hello"

    def ask(url: str) -> str:
        with (
            Anthropic(base_url=url, auth_token="anything", max_retries=0) as client,
            client.messages.stream(model="auto", max_tokens=50, messages=HI) as stream,
        ):
            return "".join(stream.text_stream)

    asyncio.run(run())


async def test_models_and_token_counts_read_like_anthropics(client: AsyncAnthropic) -> None:
    assert [model.id async for model in client.models.list()] == ["auto", "claude-router", "gpt", "claude"]
    assert (await client.models.retrieve("claude")).type == "model"
    counted = await client.messages.count_tokens(model="auto", messages=HI, system="x" * 398)
    assert counted.input_tokens == 100


# --- a model of Anthropic


async def test_a_native_stream_is_passed_on_byte_for_byte(url: str, upstream: Upstream) -> None:
    upstream.script = streams(START, *SAID, *ENDING)
    body = {"model": "claude", "max_tokens": 50, "messages": HI, "stream": True}

    async with httpx.AsyncClient() as http:
        response = await http.post(f"{url}/v1/messages", json=body)

    assert response.content == START.replace(b'"claude-5"', b'"claude"') + b"".join(SAID + ENDING)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_native_answers_own_id_names_its_request(url: str, upstream: Upstream, stream: bool) -> None:
    upstream.script = streams(START, *SAID, *ENDING) if stream else answers(message())
    body = {"model": "claude", "max_tokens": 50, "messages": HI, "stream": stream}

    async with httpx.AsyncClient(base_url=url) as http:
        sent = await http.post("/v1/messages", json=body)
        rated = await http.post("/feedback", json={"request_id": "msg_1", "score": 1.0})
        record = (await http.get("/requests/msg_1")).json()
        await http.post("/v1/messages", json=body)
        ambiguous = await http.get("/requests/msg_1")

    assert b"msg_1" in sent.content
    assert rated.json()["request_id"] == record["request_id"] == sent.headers["X-Request-ID"]
    assert ambiguous.status_code == 404  # two answers have this id


async def test_thinking_is_streamed_and_returned_to_its_vendor_unchanged(
    client: AsyncAnthropic, upstream: Upstream
) -> None:
    upstream.script = streams(START, *SAID, *ENDING)
    async with client.messages.stream(model="claude", max_tokens=50, messages=HI) as stream:
        answer = await stream.get_final_message()
    thinking = answer.content[0]
    assert thinking.type == "thinking"
    assert (thinking.thinking, thinking.signature) == ("hüm 😀 /", "EqQB+/==")

    upstream.script = answers(message())
    result: MessageParam = {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "1"}],
    }
    turns: list[MessageParam] = [*HI, {"role": "assistant", "content": answer.content}, result]
    await client.messages.create(
        model="claude", max_tokens=50, messages=turns, extra_headers={"anthropic-beta": "b-1"}
    )

    sent = upstream.bodies[1]["messages"][1]["content"][0]
    assert (sent["thinking"], sent["signature"]) == ("hüm 😀 /", "EqQB+/==")
    assert upstream.headers[1]["anthropic-beta"] == "b-1"


async def test_a_native_stream_is_recorded_with_its_cost_and_usage(
    client: AsyncAnthropic, world: World, upstream: Upstream
) -> None:
    upstream.script = streams(START, *SAID, *ENDING)

    async with client.messages.stream(
        model="claude", max_tokens=50, messages=HI, extra_headers={"X-Request-ID": "r-1"}
    ) as stream:
        answer = await stream.get_final_message()

    assert answer.usage.output_tokens == 4
    outcome = (await world.record("r-1"))["outcome"]
    assert (outcome["status"], outcome["finish_reason"]) == ("ok", "tool_calls")
    assert outcome["answer_chars"] == len('I add.{"a": 1}')
    assert outcome["usage"] == {
        "prompt_tokens": 18,
        "cached_tokens": 5,
        "cache_write_tokens": 3,
        "completion_tokens": 4,
        "reasoning_tokens": 0,
        "estimated": False,
    }


async def test_a_native_stream_carries_the_explanation(client: AsyncAnthropic, upstream: Upstream) -> None:
    upstream.script = streams(START, *SAID, *ENDING)

    async with client.messages.stream(
        model="claude", max_tokens=50, messages=HI, extra_body={"router": {"explain": True}}
    ) as stream:
        answer = await stream.get_final_message()

    assert answer.model_extra is not None
    assert answer.model_extra["router"]["candidates"][0]["model"] == "claude"
    assert "router" not in upstream.bodies[0]


# --- errors

OVERLOADED = answers({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}, 529)


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(
    ("model", "script"), [("claude", OVERLOADED), ("gpt", refuses(500)), ("gpt", streams(then=drop))]
)
async def test_failures_before_the_first_content_raise_the_clients_overload_error(
    client: AsyncAnthropic, upstream: Upstream, model: str, script: Script, is_stream: bool
) -> None:
    upstream.script = script

    with pytest.raises(anthropic.APIStatusError) as error:
        await client.messages.create(model=model, max_tokens=50, messages=HI, stream=is_stream)

    assert error.value.status_code == 529
    assert error.value.request_id == error.value.response.headers["X-Request-ID"]


async def test_a_limit_of_every_provider_raises_what_anthropic_raises(
    client: AsyncAnthropic, upstream: Upstream
) -> None:
    upstream.script = refuses(429, headers={"Retry-After": "7"})

    with pytest.raises(anthropic.RateLimitError) as error:
        await client.messages.create(model="auto", max_tokens=50, messages=HI)

    assert error.value.response.headers["Retry-After"] == "7"


@pytest.mark.parametrize(
    ("seed", "claude", "gpt"),
    [
        (0, streams(START, then=drop), streams(*openai_stream({"content": "Hello"}))),
        (2, streams(START, *SAID, *ENDING), streams(openai_event(chunk_body("")), then=drop)),
    ],
    ids=["claude fails", "gpt fails"],
)
async def test_an_arm_of_the_other_dialect_can_answer_before_the_first_content(
    client: AsyncAnthropic, world: World, upstream: Upstream, seed: int, claude: Script, gpt: Script
) -> None:
    async def script(request: web.Request) -> web.StreamResponse:
        return await (claude if request.path == "/v1/messages" else gpt)(request)

    upstream.script = script
    router = replace(world.parts.router, rng=np.random.default_rng(seed))  # draws the failing arm
    world.parts.completion = replace(world.parts.completion, router=router)

    stream = await client.messages.create(model="auto", max_tokens=50, messages=HI, stream=True)
    kinds = [event.type async for event in stream]

    assert stream.response.headers["X-Router-Decision"] == "fallback"
    assert kinds.count("message_start") == kinds.count("message_stop") == 1
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")


@pytest.mark.parametrize(
    ("model", "beginning"),
    [("claude", [START, *SAID]), ("gpt", openai_stream({"content": "Hello"})[:1])],
)
async def test_a_stream_that_breaks_raises_rather_than_ends(
    client: AsyncAnthropic, upstream: Upstream, model: str, beginning: list[bytes]
) -> None:
    upstream.script = streams(*beginning, then=drop)
    stream = await client.messages.create(model=model, max_tokens=50, messages=HI, stream=True)

    with pytest.raises(anthropic.APIError, match="connection to"):
        [event async for event in stream]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"model": "acme-0"}, anthropic.NotFoundError),
        ({"messages": []}, anthropic.BadRequestError),
        ({"max_tokens": -1}, anthropic.BadRequestError),
    ],
)
async def test_bad_requests_raise_what_anthropics_do(
    client: AsyncAnthropic, fields: dict[str, object], error: type[anthropic.APIStatusError]
) -> None:
    body = {"model": "gpt", "max_tokens": 50, "messages": HI, **fields}

    with pytest.raises(error):
        await client.post("/v1/messages", body=body, cast_to=object)


@pytest.mark.parametrize(
    ("model", "beginning"),
    [("claude", [START, *SAID]), ("gpt", openai_stream({"content": "Hello"})[:1])],
)
async def test_a_disconnect_ends_the_upstreams_work(
    client: AsyncAnthropic, upstream: Upstream, model: str, beginning: list[bytes]
) -> None:
    upstream.script = streams(*beginning, then=hang)
    stream = await client.messages.create(model=model, max_tokens=50, messages=HI, stream=True)
    await anext(aiter(stream))

    await stream.close()

    await upstream.was_left()


@pytest.mark.parametrize("model", ["claude", "gpt"])
async def test_a_disconnect_before_the_first_content_ends_the_upstreams_work(
    client: AsyncAnthropic, upstream: Upstream, model: str
) -> None:
    asking = asyncio.create_task(client.messages.create(model=model, max_tokens=50, messages=HI))
    await upstream.call_started.wait()

    asking.cancel()

    await upstream.was_left()
