"""Real clients on one side, a real HTTP upstream on the other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

from service.commands.jobs.replay.faults import Fault
from service.commands.jobs.replay.outcomes import Outcomes
from service.commands.jobs.replay.tariff import router_settings
from service.commands.jobs.replay.upstream import RecordedUpstream
from tests.e2e.running import RunningRouter

Serve = Callable[..., RunningRouter]
KEY = "sk-never-to-be-seen-1234567890"
TOOLS: list[ChatCompletionToolParam] = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather at a place.",
            "parameters": {
                "type": "object",
                "properties": {"place": {"type": "string", "enum": ["Köln", "Łódź"]}},
                "required": ["place"],
                "additionalProperties": False,
            },
        },
    }
]


@dataclass
class Both:
    router: RunningRouter
    upstream: RecordedUpstream
    models: tuple[str, ...]
    messages: list[ChatCompletionMessageParam]


@pytest.fixture
async def both(serve: Serve, outcomes: Outcomes, workplace: Path) -> AsyncIterator[Both]:
    async with RecordedUpstream(outcomes) as upstream:
        settings = router_settings(outcomes, upstream.base_url)
        for arm in settings["models"]:
            arm |= {"api_key_env": "THE_KEY", "capabilities": ["tools"]}
        config = workplace / "upstream.json"  # JSON is YAML
        config.write_text(json.dumps(settings))
        router = await asyncio.to_thread(
            serve,
            config_file=str(config),
            the_key=KEY,
            log_level="debug",
            store_texts="true",
            max_attempts="10",
        )
        yield Both(router, upstream, outcomes.models, [{"role": "user", "content": outcomes.prompts[0]}])


async def test_an_answer_is_the_upstreams_both_streamed_and_whole(both: Both) -> None:
    async with both.router.async_client() as client:
        whole = await client.chat.completions.create(model="auto", messages=both.messages)
        same = await client.chat.completions.create(model=whole.model, messages=both.messages)
        stream = await client.chat.completions.create(
            model=whole.model, messages=both.messages, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]

    assert whole.model in both.models
    assert whole.choices[0].message.content == same.choices[0].message.content
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    assert {chunk.model for chunk in chunks} == {whole.model}


async def test_tools_reach_the_upstream_unchanged(both: Both) -> None:
    async with both.router.async_client() as client:
        answer = await client.chat.completions.create(
            model="auto", messages=both.messages, tools=TOOLS, tool_choice="auto", seed=7, metadata={"a": "b"}
        )

    received = both.upstream.served[answer.model].last_request
    assert received["tools"] == TOOLS
    assert received["tool_choice"] == "auto"
    assert received["seed"] == 7
    assert received["messages"] == both.messages
    assert received["model"] == answer.model


async def test_when_a_model_fails_another_one_answers(both: Both) -> None:
    failing = Fault(kind="status", status=500, times=None)
    working = both.models[0]
    both.upstream.script({model: [failing] for model in both.models if model != working})

    async with both.router.async_client() as client:
        for number in range(12):
            headers = {"X-Request-ID": f"fallback-{number}"}
            answer = await client.chat.completions.create(
                model="auto", messages=both.messages, extra_headers=headers
            )
            assert answer.model == working

    record = await asyncio.to_thread(_first_fallback, both.router)
    assert [attempt["status"] for attempt in record["attempts"]][-1] == "ok"
    assert record["attempts"][0]["upstream_status"] == 500


def _first_fallback(router: RunningRouter) -> dict[str, list[dict[str, object]]]:
    records = (router.get(f"/requests/fallback-{number}") for number in range(12))
    return next(
        r for r in records if r["outcome"]["status"] == "ok" and r["outcome"]["decision"] == "fallback"
    )


async def test_the_upstreams_refusal_reaches_the_client(both: Both) -> None:
    model = both.models[0]
    both.upstream.script({model: [Fault(kind="status", status=400)]})

    async with both.router.async_client() as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.chat.completions.create(model=model, messages=both.messages)
        answer = await client.chat.completions.create(model=model, messages=both.messages)

    assert model in str(refused.value)
    assert answer.model == model


async def test_a_stream_that_breaks_ends_in_an_error_and_not_in_another_model(both: Both) -> None:
    model = both.models[0]
    both.upstream.script({model: [Fault(kind="drop", after_chunks=3)]})

    async with both.router.async_client() as client:
        stream = await client.chat.completions.create(
            model=model, messages=both.messages, stream=True, extra_headers={"X-Request-ID": "broken"}
        )
        with pytest.raises(openai.APIError):
            async for _ in stream:
                pass

    record = await asyncio.to_thread(both.router.get, "/requests/broken")
    assert record["outcome"]["status"] == "failed"
    assert len(record["attempts"]) == 1


async def test_a_client_that_disconnects_cancels_the_call(both: Both) -> None:
    model = both.models[0]
    both.upstream.script({model: [Fault(kind="hang", after_chunks=3)]})

    async with both.router.async_client() as client:
        stream = await client.chat.completions.create(model=model, messages=both.messages, stream=True)
        await anext(aiter(stream))
        await stream.close()
    await both.upstream.until(lambda: both.upstream.served[model].cancelled == 1)

    assert both.upstream.served[model].finished == 0


async def test_the_key_appears_nowhere(both: Both) -> None:
    model = both.models[0]
    faults = [Fault(kind="status", status=401), Fault(kind="garbage"), Fault(kind="drop")]
    both.upstream.script({model: faults})
    received = []

    async with both.router.async_client() as client:
        for number in range(len(faults)):
            try:
                answer = await client.chat.completions.with_raw_response.create(
                    model=model, messages=both.messages, extra_headers={"X-Request-ID": f"secret-{number}"}
                )
                received.append(answer.text + str(answer.headers))
            except openai.APIStatusError as error:
                received.append(error.response.text + str(error.response.headers))
            received.append(str(await asyncio.to_thread(both.router.get, f"/requests/secret-{number}")))
    received += [str(await asyncio.to_thread(both.router.get, path)) for path in ("/health", "/v1/models")]
    assert await asyncio.to_thread(both.router.interrupt) == 0
    written = [path.read_bytes() for path in both.router.folder.rglob("*") if path.is_file()]

    assert all(KEY not in text for text in received)
    assert all(KEY.encode() not in content for content in written)
