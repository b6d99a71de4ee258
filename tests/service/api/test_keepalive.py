"""Streams whose first content comes late: keep-alive comments, and any outcome after them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anthropic
import httpx
import openai
import pytest

from service.errors import ProviderBroken, ProviderRejected
from tests.fakes import ANY, Reply
from tests.service.served import serving
from tests.service.world import World, opened

BODY = {"messages": [{"role": "user", "content": "What is a bandit?"}], "max_tokens": 100, "stream": True}
PATHS = pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """The service, which sends keep-alive comments almost at once."""
    async with opened(tmp_path, keepalive_after_s=0.001) as world:
        yield world


@pytest.fixture
async def url(world: World) -> AsyncIterator[str]:
    async with serving(world) as port:
        yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def waiting(url: str, path: str) -> AsyncIterator[tuple[httpx.Response, AsyncIterator[str]]]:
    """A stream whose first keep-alive comment has been read."""
    async with (
        httpx.AsyncClient(base_url=url) as http,
        http.stream("POST", path, json={"model": "auto", **BODY}) as response,
    ):
        lines = response.aiter_lines()
        assert await anext(lines) == ": ping"
        yield response, lines


async def data_of(lines: AsyncIterator[str]) -> list[str]:
    return [line.removeprefix("data: ") async for line in lines if line.startswith("data: ")]


@PATHS
async def test_another_model_can_still_answer_while_keepalive_comments_are_sent(
    world: World, url: str, path: str
) -> None:
    fails = asyncio.Event()
    world.model_client.will(
        ANY, Reply(words=(), until=fails, error=ProviderBroken("gone")), Reply(("Fine.",))
    )

    async with waiting(url, path) as (response, lines):
        fails.set()
        data = await data_of(lines)

    assert response.status_code == 200
    assert "x-router-model" not in response.headers  # unknown when the headers were sent
    assert response.headers["x-request-id"]
    assert len(set(world.model_client.called)) == 2
    assert "Fine." in "".join(data)
    assert "error" not in "".join(data)
    assert data[-1] == "[DONE]" or json.loads(data[-1])["type"] == "message_stop"


@PATHS
async def test_when_every_model_failed_the_stream_ends_with_an_error(
    world: World, url: str, path: str
) -> None:
    fails = asyncio.Event()
    world.model_client.will(ANY, *[Reply(words=(), until=fails, error=ProviderBroken("gone"))] * 10)

    async with waiting(url, path) as (_, lines):
        fails.set()
        data = await data_of(lines)

    assert len(data) == 1
    assert json.loads(data[0])["error"]["message"]


async def test_a_rejection_by_the_provider_is_passed_on_in_an_error_event(world: World, url: str) -> None:
    refuses = asyncio.Event()
    world.model_client.will(
        ANY, Reply(words=(), until=refuses, error=ProviderRejected("no such tool", status=400))
    )

    async with waiting(url, "/v1/chat/completions") as (_, lines):
        refuses.set()
        (data,) = await data_of(lines)

    assert "no such tool" in json.loads(data)["error"]["message"]


@PATHS
async def test_a_client_that_disconnects_while_waiting_ends_the_models_call(
    world: World, url: str, path: str
) -> None:
    over = asyncio.Event()
    world.parts.completion = replace(world.parts.completion, observe=lambda *_: over.set())
    world.model_client.will(ANY, Reply(words=(), until=asyncio.Event()))

    async with waiting(url, path):
        pass
    await over.wait()

    assert world.model_client.cancelled == world.model_client.called


async def test_openais_client_ignores_keepalive_comments(world: World, url: str) -> None:
    begins = asyncio.Event()
    world.model_client.will(
        ANY, Reply(words=(), until=begins, error=ProviderBroken("gone")), Reply(("Fine.",))
    )
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        stream = await client.chat.completions.create(model="auto", messages=BODY["messages"], stream=True)  # type: ignore[call-overload]
        begins.set()

        texts = [c.choices[0].delta.content or "" async for c in stream if c.choices]

    assert "".join(texts) == "Fine."


async def test_anthropics_client_ignores_keepalive_comments(world: World, url: str) -> None:
    begins = asyncio.Event()
    world.model_client.will(
        ANY, Reply(words=(), until=begins, error=ProviderBroken("gone")), Reply(("Fine.",))
    )
    async with (
        anthropic.AsyncAnthropic(base_url=url, api_key="none", max_retries=0) as client,
        client.messages.stream(model="auto", max_tokens=100, messages=BODY["messages"]) as stream,  # type: ignore[arg-type]
    ):
        begins.set()

        message = await stream.get_final_message()

    assert message.content[0].text == "Fine."  # type: ignore[union-attr]


async def test_googles_clients_get_blank_lines_because_a_comment_breaks_their_streams(
    world: World, url: str
) -> None:
    answers = asyncio.Event()
    world.model_client.will(
        ANY, Reply(words=(), until=answers, error=ProviderBroken("gone")), Reply(("Fine.",))
    )
    path, body = (
        "/v1beta/models/auto:streamGenerateContent?alt=sse",
        {"contents": [{"parts": [{"text": "Hi"}]}]},
    )

    async with (
        httpx.AsyncClient(base_url=url) as http,
        http.stream("POST", path, json=body) as response,
    ):
        lines = response.aiter_lines()
        assert await anext(lines) == ""
        answers.set()
        rest = [line async for line in lines]

    assert response.status_code == 200
    assert all(not line or line.startswith("data: ") for line in rest)
    assert '"finishReason":"STOP"' in rest[-2]
