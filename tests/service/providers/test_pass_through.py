"""The answer of an OpenAI-compatible provider reaches the client unchanged, under the arm's name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from service.domain.arm import Arm
from service.domain.basics import Json
from service.providers.clients import build_provider_clients
from service.providers.simulator.simulator import SimulatedClient
from tests.service.providers.scripted import (
    KEY,
    NOW,
    SECRETS,
    Upstream,
    answers,
    chunk_body,
    completion,
    event,
    streams,
)
from tests.service.providers.scripted import serving as serving_upstream
from tests.service.world import World, events_of, opened

USAGE = {"prompt_tokens": 18, "completion_tokens": 4, "total_tokens": 22}
DONE = b"data: [DONE]\n\n"
CALL = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with serving_upstream() as upstream:
        yield upstream


@pytest.fixture
async def world(tmp_path: Path, upstream: Upstream) -> AsyncIterator[World]:
    arm = Arm("gpt", "openai", "gpt-5", base_url=f"{upstream.base_url}/v1", api_key_env="UPSTREAM_KEY")
    async with opened(tmp_path, [arm]) as world:
        provider_clients = build_provider_clients(SECRETS, lambda: NOW, simulator=SimulatedClient())
        world.parts.completion = replace(world.parts.completion, model_client=provider_clients)
        yield world
        await provider_clients.close()


def choice(index: int, finish_reason: str | None = None, **delta: object) -> Json:
    return chunk_body(choices=[{"index": index, "delta": delta, "finish_reason": finish_reason}])


async def test_a_completion_keeps_every_field_of_its_model(world: World, upstream: Upstream) -> None:
    tool_call = {"role": "assistant", "content": None, "refusal": None, "tool_calls": [CALL]}
    text = {"role": "assistant", "content": "Hi", "refusal": None}
    logprobs = {"content": [{"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": []}]}
    sent = completion(
        choices=[
            {"index": 0, "message": tool_call, "finish_reason": "tool_calls", "logprobs": None},
            {"index": 1, "message": text, "finish_reason": "content_filter", "logprobs": logprobs},
        ],
        usage=USAGE,
        system_fingerprint="fp",
        service_tier="flex",
    )
    upstream.script = answers(sent)

    response = await world.ask(n=2, logprobs=True)

    assert response.json() == {**sent, "model": "gpt", "id": response.json()["id"]}
    assert (upstream.bodies[0]["n"], upstream.bodies[0]["logprobs"]) == (2, True)


async def test_a_stream_keeps_the_chunks_of_every_choice_and_call(world: World, upstream: Upstream) -> None:
    first_call = {"index": 0, **CALL, "function": {"name": "add", "arguments": ""}}
    sent = [
        choice(0, role="assistant", content="H"),
        choice(1, role="assistant", content=None, tool_calls=[first_call]),
        choice(0, content="i"),
        choice(1, tool_calls=[{"index": 0, "function": {"arguments": '{"a": 1}'}}]),
        choice(1, "tool_calls"),
        choice(0, "stop"),
    ]
    upstream.script = streams(*map(event, [*sent, chunk_body(choices=[], usage=USAGE)]), b"data: [DONE]\n\n")

    events = events_of(await world.ask(stream=True, n=2))

    [answer_id] = {event["id"] for event in events if isinstance(event, dict)}
    assert events == [*({**chunk, "model": "gpt", "id": answer_id} for chunk in sent), "[DONE]"]


async def test_the_clients_key_and_organisation_do_not_reach_the_provider(
    world: World, upstream: Upstream
) -> None:
    upstream.script = answers(completion())
    headers = {"Authorization": "Bearer mine", "OpenAI-Organization": "org", "OpenAI-Project": "project"}

    response = await world.ask(headers=headers)

    assert response.status_code == 200
    assert upstream.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert not {"OpenAI-Organization", "OpenAI-Project"} & upstream.headers[0].keys()


async def test_a_tool_calls_id_and_signature_go_back_to_its_provider(
    world: World, upstream: Upstream
) -> None:
    signed = CALL | {"extra_content": {"google": {"thought_signature": "EqQB+/=="}}}
    messages: list[Json] = [
        {"role": "user", "content": "Add"},
        {"role": "assistant", "content": None, "tool_calls": [signed]},
        {"role": "tool", "tool_call_id": "call_1", "content": "1"},
    ]
    upstream.script = answers(completion())

    await world.http.post("/v1/chat/completions", json={"messages": messages})

    assert upstream.bodies[0]["messages"] == messages


async def test_a_providers_rate_limit_headers_do_not_reach_the_client(
    world: World, upstream: Upstream
) -> None:
    limits = {"x-ratelimit-remaining-requests": "9", "anthropic-ratelimit-requests-remaining": "9"}
    upstream.script = answers(completion(), headers=limits)

    response = await world.ask()

    assert response.status_code == 200
    assert not [name for name in response.headers if "ratelimit" in name]


@pytest.mark.parametrize("stream", [False, True])
async def test_what_had_to_be_guessed_is_noted_in_the_record(
    world: World, upstream: Upstream, stream: bool
) -> None:
    upstream.script = streams(event(chunk_body("Hi")), event(chunk_body(finish_reason="because")), DONE)
    await world.ask(stream=stream, headers={"X-Request-ID": "odd"})
    upstream.script = streams(event(chunk_body("Hi")), event(chunk_body(finish_reason="stop")), DONE)
    await world.ask(stream=stream, headers={"X-Request-ID": "sound"})

    [odd], [sound] = [(await world.record(name))["attempts"] for name in ("odd", "sound")]

    assert odd["notes"] == ["finish_reason 'because' is unknown, and read as stop"]
    assert sound["notes"] == []
