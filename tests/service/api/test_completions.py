"""POST /v1/completions over HTTP: a chat underneath, a text on the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from service.dialects.completions.answers import TextEvents, text_completion
from service.domain.answer import Chunk
from service.errors import ProviderBroken
from tests.fakes import ANY, Reply
from tests.service.world import World, error_of, events_of


@pytest.fixture
async def client(world: World) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(
        base_url="http://127.0.0.1:8080/v1", api_key="anything", http_client=world.http, max_retries=0
    ) as client:
        yield client


async def complete(world: World, path: str = "/v1/completions", **body: Any) -> httpx.Response:
    return await world.http.post(path, json={"prompt": "Say hello.", **body})


# --- whole answers


@pytest.mark.parametrize("path", ["/v1/completions", "/completions"])
async def test_the_answer_is_a_text_completion_of_a_routed_model(world: World, path: str) -> None:
    response = await complete(world, path, model="auto")

    body = response.json()
    assert response.status_code == 200
    assert body["object"] == "text_completion"
    assert body["choices"] == [
        {"text": "Hello there.", "index": 0, "logprobs": None, "finish_reason": "stop"}
    ]
    assert body["usage"]["total_tokens"] == 150
    assert response.headers["X-Router-Model"] == body["model"]
    record = await world.record(response.headers["X-Request-ID"])
    assert (record["dialect"], record["outcome"]["status"]) == ("completions", "ok")


async def test_openais_client_reads_it(client: AsyncOpenAI) -> None:
    answer = await client.completions.create(model="auto", prompt="Say hello.", echo=True)

    assert answer.choices[0].text == "Say hello.Hello there."
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 50


async def test_feedback_names_it_like_any_other_request(world: World) -> None:
    await world.http.post("/v1/completions", json={"prompt": "Hi"}, headers={"X-Request-ID": "c-1"})
    await world.background.drain(5.0)

    assert (await world.rate("c-1", 0.5)).json()["status"] == "applied"


async def test_the_explanation_comes_if_asked(world: World) -> None:
    whole = (await complete(world, router={"explain": True})).json()
    events = events_of(await complete(world, router={"explain": True}, stream=True))

    assert whole["router"]["candidates"]
    assert ["router" in event for event in events[:-1]] == [True] + [False] * (len(events) - 2)


async def test_another_model_answers_if_one_fails(world: World) -> None:
    world.model_client.will(ANY, Reply(error=ProviderBroken("down", status=500)))

    response = await complete(world)

    assert (response.status_code, response.headers["X-Router-Decision"]) == (200, "fallback")


async def test_errors_have_openais_envelope(world: World) -> None:
    refused = await complete(world, suffix="end")
    unknown = await complete(world, model="acme-0")
    wrong_method = await world.http.get("/v1/completions")

    assert (refused.status_code, error_of(refused)["param"]) == (400, "suffix")
    assert (unknown.status_code, error_of(unknown)["code"]) == (404, "model_not_found")
    assert (wrong_method.status_code, error_of(wrong_method)["code"]) == (405, "method_not_allowed")


# --- streams


async def test_a_stream_has_texts_and_one_end(client: AsyncOpenAI) -> None:
    stream = await client.completions.create(model="auto", prompt="Say hello.", stream=True)

    chunks = [chunk async for chunk in stream]
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == "Hello there."
    assert [c.finish_reason for chunk in chunks for c in chunk.choices if c.finish_reason] == ["stop"]
    assert {chunk.object for chunk in chunks} == {"text_completion"}
    assert all(chunk.usage is None for chunk in chunks)


async def test_a_stream_reports_its_usage_once_if_asked(world: World) -> None:
    response = await complete(world, stream=True, stream_options={"include_usage": True})

    *chunks, usage, done = events_of(response)
    assert done == "[DONE]"
    assert isinstance(usage, dict)
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 150)
    assert all(isinstance(chunk, dict) and chunk["usage"] is None for chunk in chunks)


async def test_the_prompt_is_echoed_once(world: World) -> None:
    events = events_of(await complete(world, stream=True, echo=True))

    texts = [c["text"] for event in events if isinstance(event, dict) for c in event["choices"]]
    assert "".join(texts) == "Say hello.Hello there."


async def test_a_stream_that_breaks_ends_with_an_error_and_without_done(
    client: AsyncOpenAI, world: World
) -> None:
    world.model_client.will(ANY, Reply(error=ProviderBroken("cut", status=500)))
    stream = await client.completions.create(model="auto", prompt="Say hello.", stream=True)

    with pytest.raises(openai.APIError):
        [chunk async for chunk in stream]


# --- the translation of answers


def test_a_whole_answer_keeps_its_choices_ends_and_log_probabilities() -> None:
    tokens = [
        {
            "token": "He",
            "logprob": -0.5,
            "top_logprobs": [{"token": "He", "logprob": -0.5}, {"token": "A", "logprob": -2}],
        },
        {"token": "y", "logprob": -0.25, "top_logprobs": []},
    ]
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 5,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"content": "Hey"},
                "logprobs": {"content": tokens},
                "finish_reason": "length",
            },
            {"index": 1, "message": {"content": None, "refusal": "No."}, "finish_reason": "content_filter"},
            {"index": 2, "message": {"content": None}, "finish_reason": "tool_calls"},
        ],
    }

    assert text_completion(body, "> ") == {
        "id": "chatcmpl-1",
        "object": "text_completion",
        "created": 5,
        "model": "m",
        "choices": [
            {
                "text": "> Hey",
                "index": 0,
                "logprobs": {
                    "tokens": ["He", "y"],
                    "token_logprobs": [-0.5, -0.25],
                    "top_logprobs": [{"He": -0.5, "A": -2}, {}],
                    "text_offset": [0, 2],
                },
                "finish_reason": "length",
            },
            {"text": "> No.", "index": 1, "logprobs": None, "finish_reason": "content_filter"},
            {"text": "> ", "index": 2, "logprobs": None, "finish_reason": "stop"},
        ],
    }


def test_chunks_without_text_are_left_out_and_offsets_go_on() -> None:
    writer = TextEvents("", None, include_usage=False)

    def written(delta: dict[str, Any], index: int = 0, **choice: Any) -> bytes:
        return writer.chunk(Chunk({"id": "c", "choices": [{"index": index, "delta": delta, **choice}]}))

    logprobs = {"content": [{"token": "ab", "logprob": -1}]}
    assert written({"role": "assistant", "content": ""}) == b""
    assert written({"reasoning_content": "hm"}) == b""
    assert b'"text_offset":[0]' in written({"content": "ab"}, logprobs=logprobs)
    assert b'"text_offset":[2]' in written({"content": "ab"}, logprobs=logprobs)
    assert b'"text_offset":[0]' in written({"content": "ab"}, 1, logprobs=logprobs)
    assert b'"finish_reason":"length"' in written({}, finish_reason="length")
