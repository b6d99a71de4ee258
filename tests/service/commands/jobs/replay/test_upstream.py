"""The recorded upstream over real HTTP on loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import httpx
import numpy as np
import openai
import pytest

from service.commands.jobs.replay.faults import Fault
from service.commands.jobs.replay.outcomes import Outcomes
from service.commands.jobs.replay.tariff import tariffs
from service.commands.jobs.replay.upstream import RecordedUpstream
from service.errors import StartupError

PROMPTS = ("What is 2 + 2?", "Translate 'good morning' into Portuguese, please. " * 20)
MODELS = ("sim-a", "sim-b")


@pytest.fixture
def outcomes() -> Outcomes:
    return Outcomes(
        prompts=PROMPTS,
        models=MODELS,
        scores=np.array([[1.0, 0.25], [0.0, 0.75]]),
        costs_usd=np.array([[0.0000213, 0.0123456], [0.00417, 0.0009]]),
        categories=("maths", "translation"),
    )


@pytest.fixture
async def upstream(outcomes: Outcomes) -> AsyncIterator[RecordedUpstream]:
    async with RecordedUpstream(outcomes) as upstream:
        yield upstream


@pytest.fixture
async def client(upstream: RecordedUpstream) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=upstream.base_url, api_key="none", max_retries=0) as client:
        yield client


def ask(prompt: str = PROMPTS[0], model: str = "sim-a", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": prompt}], **more}


async def post(upstream: RecordedUpstream, body: dict[str, Any]) -> httpx.Response:
    async with httpx.AsyncClient() as http:
        return await http.post(f"{upstream.base_url}/chat/completions", json=body)


async def test_a_model_answers_with_its_recorded_score(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(**ask(model="sim-b"))

    assert answer.model == "sim-b"
    assert "score 0.25" in str(answer.choices[0].message.content)
    assert answer.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize("column", [0, 1])
async def test_tokens_times_price_are_the_recorded_dollars(
    client: openai.AsyncOpenAI, outcomes: Outcomes, row: int, column: int
) -> None:
    answer = await client.chat.completions.create(**ask(PROMPTS[row], MODELS[column]))

    price, usage = tariffs(outcomes)[MODELS[column]], answer.usage
    assert usage is not None
    assert usage.prompt_tokens == round(len(PROMPTS[row]) / 4)
    dollars = (price.input * usage.prompt_tokens + price.output * usage.completion_tokens) / 1e6
    assert dollars == pytest.approx(outcomes.costs_usd[row, column], rel=0.01)


async def test_a_stream_has_the_same_text_and_usage_as_a_plain_answer(client: openai.AsyncOpenAI) -> None:
    plain = await client.chat.completions.create(**ask())
    stream = await client.chat.completions.create(**ask(stream=True, stream_options={"include_usage": True}))
    chunks = [chunk async for chunk in stream]

    texts = [c.choices[0].delta.content or "" for c in chunks if c.choices]
    assert "".join(texts) == plain.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage == plain.usage
    assert {c.id for c in chunks} == {chunks[0].id}


async def test_a_stream_has_usage_only_on_request(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(**ask(stream=True))
    chunks = [chunk async for chunk in stream]

    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


async def test_text_parts_find_the_row_and_only_the_last_user_message_counts(
    client: openai.AsyncOpenAI,
) -> None:
    messages: Any = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": PROMPTS[1]},
        {"role": "assistant", "content": "no"},
        {"role": "user", "content": [{"type": "text", "text": PROMPTS[0]}]},
    ]
    answer = await client.chat.completions.create(model="sim-a", messages=messages)

    assert "row 0" in str(answer.choices[0].message.content)


async def test_an_unrecorded_prompt_still_gets_an_answer(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(**ask("never seen"))

    assert "no recorded answer" in str(answer.choices[0].message.content)
    assert answer.usage is not None
    assert answer.usage.total_tokens > 0


async def test_an_unknown_model_is_404_in_the_openai_envelope(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await client.chat.completions.create(**ask(model="sim-z"))

    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"\xff", b'{"model": "sim-a"}', b'{"model": 1, "messages": [1]}']
)
async def test_a_malformed_body_is_400_in_the_openai_envelope(
    upstream: RecordedUpstream, body: bytes
) -> None:
    async with httpx.AsyncClient() as http:
        response = await http.post(f"{upstream.base_url}/chat/completions", content=body)

    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


async def test_models_are_listed(client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == list(MODELS)


async def test_an_error_on_request_lasts_as_long_as_scripted(upstream: RecordedUpstream) -> None:
    upstream.script({"sim-a": [Fault(kind="status", status=429, retry_after_s=7, times=2)]})

    answers = [await post(upstream, ask()) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["Retry-After"] == "7"
    assert answers[0].json()["error"]["message"]


async def test_a_fault_without_an_end_lasts_until_the_script_is_replaced(upstream: RecordedUpstream) -> None:
    upstream.script({"sim-a": [Fault(kind="status", times=None)]})
    before = [(await post(upstream, ask())).status_code for _ in range(3)]
    other = (await post(upstream, ask(model="sim-b"))).status_code
    upstream.script({})
    after = (await post(upstream, ask())).status_code

    assert (before, other, after) == ([500, 500, 500], 200, 200)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_dropped_connection_sends_nothing(upstream: RecordedUpstream, stream: bool) -> None:
    upstream.script({"sim-a": [Fault(kind="drop")]})

    with pytest.raises(httpx.RemoteProtocolError):
        await post(upstream, ask(stream=stream))


async def read_until_it_breaks(upstream: RecordedUpstream, body: dict[str, Any]) -> tuple[bytes, bool]:
    """The bytes that arrived, and whether the transfer broke."""
    received = b""
    url = f"{upstream.base_url}/chat/completions"
    async with aiohttp.ClientSession() as http, http.post(url, json=body) as response:
        try:
            async for data in response.content.iter_any():
                received += data
        except aiohttp.ClientPayloadError:
            return received, True
    return received, False


async def test_a_connection_dropped_after_the_first_text_has_sent_exactly_that(
    upstream: RecordedUpstream,
) -> None:
    upstream.script({"sim-a": [Fault(kind="drop", after_chunks=2)]})

    received, broke = await read_until_it_breaks(upstream, ask(stream=True))

    events = [json.loads(event.removeprefix(b"data: ")) for event in received.split(b"\n\n")[:-1]]
    assert [event["choices"][0]["delta"]["content"] for event in events] == ["", "sim-a"]
    assert broke


async def test_half_a_chunk_ends_in_the_middle_of_an_event(upstream: RecordedUpstream) -> None:
    upstream.script({"sim-a": [Fault(kind="half_chunk", after_chunks=1)]})

    received, broke = await read_until_it_breaks(upstream, ask(stream=True))

    first, second = received.split(b"\n\n")
    assert json.loads(first.removeprefix(b"data: "))
    assert second.startswith(b"data: {")
    assert not second.endswith(b"}")
    assert broke


async def test_a_plain_answer_can_break_off_half_way(upstream: RecordedUpstream) -> None:
    upstream.script({"sim-a": [Fault(kind="drop", after_chunks=1)]})

    received, broke = await read_until_it_breaks(upstream, ask())

    assert received.startswith(b"{")
    assert broke


async def test_a_truncated_stream_ends_in_order_but_without_a_finish(upstream: RecordedUpstream) -> None:
    upstream.script({"sim-a": [Fault(kind="truncated", after_chunks=2)]})

    received, broke = await read_until_it_breaks(upstream, ask(stream=True))

    assert received.count(b"data: ") == 2
    assert b"[DONE]" not in received
    assert not broke


@pytest.mark.parametrize("stream", [False, True])
async def test_garbage_is_200_and_no_json(upstream: RecordedUpstream, stream: bool) -> None:
    upstream.script({"sim-a": [Fault(kind="garbage")]})

    answer = await post(upstream, ask(stream=stream))

    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.text.removeprefix("data: "))


async def test_an_empty_answer_has_no_text_and_costs_no_output(
    client: openai.AsyncOpenAI, upstream: RecordedUpstream
) -> None:
    upstream.script({"sim-a": [Fault(kind="empty", times=2)]})

    plain = await client.chat.completions.create(**ask())
    stream = await client.chat.completions.create(**ask(stream=True))
    texts = [chunk.choices[0].delta.content async for chunk in stream]

    assert plain.choices[0].message.content == ""
    assert plain.usage is not None
    assert plain.usage.completion_tokens == 0
    assert not any(texts)


@pytest.mark.parametrize("after_chunks", [0, 2])
async def test_a_client_that_leaves_a_hanging_call_is_counted(
    upstream: RecordedUpstream, after_chunks: int
) -> None:
    upstream.script({"sim-a": [Fault(kind="hang", after_chunks=after_chunks)]})
    call = asyncio.create_task(post(upstream, ask(stream=True)))
    await upstream.until(lambda: upstream.served["sim-a"].calls == 1)

    call.cancel()
    await upstream.until(lambda: upstream.served["sim-a"].cancelled == 1)

    assert upstream.served["sim-a"].finished == 0


async def test_a_client_that_leaves_while_waiting_is_counted(upstream: RecordedUpstream) -> None:
    upstream.script({"sim-a": [Fault(kind="slow", delay_s=60)]})

    async with httpx.AsyncClient(timeout=0.05) as impatient:
        with pytest.raises(httpx.ReadTimeout):
            await impatient.post(f"{upstream.base_url}/chat/completions", json=ask())

    await upstream.until(lambda: upstream.served["sim-a"].cancelled == 1)


async def test_control_accepts_faults_and_shows_the_counts_of_calls(upstream: RecordedUpstream) -> None:
    faults = {"sim-b": [{"kind": "status", "status": 503}]}
    async with httpx.AsyncClient() as http:
        accepted = await http.put(upstream.control_url, json={"faults": faults})
        failed = await post(upstream, ask(model="sim-b", temperature=0.5))
        counts = (await http.get(upstream.control_url)).json()["models"]

    assert accepted.status_code == 200
    assert failed.status_code == 503
    assert (counts["sim-b"]["calls"], counts["sim-b"]["cancelled"], counts["sim-a"]["calls"]) == (1, 0, 0)
    assert counts["sim-b"]["last_request"]["temperature"] == 0.5


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"faults": {"sim-z": [{"kind": "drop"}]}},
        {"faults": {"sim-a": [{"kind": "explode"}]}},
        {"faults": {"sim-a": [{"kind": "drop", "unknown": 1}]}},
    ],
)
async def test_control_refuses_unknown_models_and_faults(
    upstream: RecordedUpstream, body: dict[str, Any]
) -> None:
    async with httpx.AsyncClient() as http:
        response = await http.put(upstream.control_url, json=body)

    assert response.status_code == 400


async def test_faults_may_be_scripted_from_the_start(outcomes: Outcomes) -> None:
    async with RecordedUpstream(outcomes, faults={"sim-a": [Fault(kind="status")]}) as upstream:
        first, second = await post(upstream, ask()), await post(upstream, ask())

    assert (first.status_code, second.status_code) == (500, 200)


async def test_a_port_in_use_is_reported_with_its_number(
    outcomes: Outcomes, upstream: RecordedUpstream
) -> None:
    port = httpx.URL(upstream.base_url).port
    assert port is not None

    with pytest.raises(StartupError, match=f"cannot serve on 127.0.0.1:{port}"):
        async with RecordedUpstream(outcomes, port=port):
            pass
