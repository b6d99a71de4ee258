"""Clients that disconnect, over real HTTP: the model's call must end, because it costs money."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from service.commands.jobs.replay.faults import Fault
from service.commands.jobs.replay.outcomes import Outcomes
from service.commands.jobs.replay.upstream import RecordedUpstream
from service.domain.arm import Arm
from service.domain.basics import Json
from service.providers.clients import ProviderClients
from service.providers.openai_compatible import OpenAICompatibleClient
from tests.service.served import serving
from tests.service.world import World, opened

MODEL = "some-model"
PROMPT = "What is a bandit?"
OUTCOMES = Outcomes((PROMPT,), (MODEL,), np.array([[1.0]]), np.array([[0.001]]), ("",))
HANGS_AT_ONCE = Fault(kind="hang")
HANGS_HALFWAY = Fault(kind="hang", after_chunks=3)


@pytest.fixture
async def upstream() -> AsyncIterator[RecordedUpstream]:
    async with RecordedUpstream(OUTCOMES) as upstream:
        yield upstream


@pytest.fixture
def over() -> asyncio.Event:
    """Set when the first request is over, answered or not."""
    return asyncio.Event()


@pytest.fixture
async def world(tmp_path: Path, upstream: RecordedUpstream, over: asyncio.Event) -> AsyncIterator[World]:
    """The service with a real client of the upstream."""
    arm = Arm(MODEL, "openai", MODEL, base_url=upstream.base_url)
    async with opened(tmp_path, [arm]) as world:
        model_client = ProviderClients({"openai": OpenAICompatibleClient({}, world.clock)})
        completion = replace(world.parts.completion, model_client=model_client, observe=lambda *_: over.set())
        world.parts.completion = completion
        yield world
        await model_client.close()


@pytest.fixture
async def port(world: World) -> AsyncIterator[int]:
    async with serving(world) as port:
        yield port


async def asking(port: int, *, stream: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection with a request on its way."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps({"messages": [{"role": "user", "content": PROMPT}], "stream": stream}).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Request-ID: r-1\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await writer.drain()
    return reader, writer


async def ended(world: World, over: asyncio.Event) -> Json:
    """The record of the request, once it is over."""
    await over.wait()
    return await world.record("r-1")


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_disconnect_before_the_answer_cancels_the_models_call(
    world: World, upstream: RecordedUpstream, port: int, over: asyncio.Event, stream: bool
) -> None:
    upstream.script({MODEL: [HANGS_AT_ONCE]})
    _, writer = await asking(port, stream=stream)
    await upstream.until(lambda: upstream.served[MODEL].calls == 1)

    await hang_up(writer)

    await upstream.until(lambda: upstream.served[MODEL].cancelled == 1)
    record = await ended(world, over)
    assert record["outcome"]["status"] == record["attempts"][0]["status"] == "cancelled"


async def test_a_disconnect_in_the_middle_of_a_stream_cancels_the_models_call(
    world: World, upstream: RecordedUpstream, port: int, over: asyncio.Event
) -> None:
    upstream.script({MODEL: [HANGS_HALFWAY]})
    reader, writer = await asking(port, stream=True)
    await reader.readuntil(b'"content":')

    await hang_up(writer)

    await upstream.until(lambda: upstream.served[MODEL].cancelled == 1)
    record = await ended(world, over)
    assert record["outcome"]["status"] == "cancelled"
    assert record["outcome"]["usage"]["completion_tokens"] > 0


async def test_a_client_that_hung_up_continues_its_conversation_with_the_part_it_has(
    world: World, upstream: RecordedUpstream, port: int, over: asyncio.Event
) -> None:
    upstream.script({MODEL: [HANGS_HALFWAY]})
    reader, writer = await asking(port, stream=True)
    await reader.readuntil(b'"content":')
    await hang_up(writer)
    await ended(world, over)

    history = [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": "a part"}]
    messages = [*history, {"role": "user", "content": "Go on"}]
    response = await world.http.post("/v1/chat/completions", json={"messages": messages})

    record = await world.record(response.headers["x-request-id"])
    assert record["conversation"]["turn"] == 2


async def test_a_disconnect_does_not_disturb_other_clients(
    world: World, upstream: RecordedUpstream, port: int
) -> None:
    upstream.script({MODEL: [HANGS_AT_ONCE]})
    _, writer = await asking(port, stream=False)
    await upstream.until(lambda: upstream.served[MODEL].calls == 1)
    await hang_up(writer)
    await upstream.until(lambda: upstream.served[MODEL].cancelled == 1)

    answers = await asyncio.gather(*[world.ask(PROMPT) for _ in range(5)])

    assert {answer.status_code for answer in answers} == {200}
    assert upstream.served[MODEL].finished == 5


async def test_a_disconnect_is_not_logged_as_a_bug(
    world: World, upstream: RecordedUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.script({MODEL: [HANGS_AT_ONCE]})

    with capture_logs() as events:
        async with serving(world) as port:
            _, writer = await asking(port, stream=False)
            await upstream.until(lambda: upstream.served[MODEL].calls == 1)
            await hang_up(writer)
            await upstream.until(lambda: upstream.served[MODEL].cancelled == 1)

    assert [event["event"] for event in events] == ["not_answered"]
    assert caplog.records == []


async def test_a_disconnect_while_the_body_is_sent_is_not_logged_as_a_bug(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with capture_logs() as events:
        async with serving(world) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                b"POST /feedback HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
            )
            await writer.drain()
            await hang_up(writer)

    assert events == []
    assert caplog.records == []
