"""A provider that rejects the signature of earlier thinking."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from service.domain.basics import Json
from service.errors import ProviderRejected
from tests.fakes import Reply
from tests.service.world import LARGE, World, opened

CLAUDE = replace(LARGE, arm_id="claude", provider="anthropic", model="claude-sonnet-5-5")
REFUSED = ProviderRejected("messages.1.content.0: Invalid `signature` in `thinking` block", status=400)
THINKING = {"type": "thinking", "thinking": "Hm.", "signature": "of-another-key"}
TEXT = {"type": "text", "text": "So."}
HISTORY: list[Json] = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": [THINKING, TEXT]},
    {"role": "user", "content": "And now?"},
]
SAFE = [HISTORY[0], {"role": "assistant", "content": [TEXT]}, HISTORY[2]]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path, [CLAUDE]) as world:
        yield world


async def ask(
    world: World, request_id: str = "r-1", *, stream: bool = False, messages: list[Json] = HISTORY
) -> httpx.Response:
    body = {"model": "auto", "max_tokens": 100, "stream": stream, "messages": messages}
    headers = {"X-Request-ID": request_id, "X-Router-Session-Id": "s"}
    return await world.http.post("/v1/messages", json=body, headers=headers)


def sent(world: World) -> list[list[Json]]:
    return [native.body["messages"] for native in world.model_client.natives if native is not None]


@pytest.mark.parametrize("stream", [False, True])
async def test_the_same_model_is_called_again_without_thinking(world: World, stream: bool) -> None:
    world.model_client.will("claude", Reply(words=(), error=REFUSED))

    response = await ask(world, stream=stream)

    assert response.status_code == 200
    assert response.headers["X-Router-Decision"] == "exploit"
    assert sent(world) == [HISTORY, SAFE]
    attempts = (await world.record("r-1"))["attempts"]
    assert [(a["model"], a["status"], a["error_type"]) for a in attempts] == [
        ("claude", "failed", "ProviderRejected"),
        ("claude", "ok", None),
    ]
    assert "signature" in attempts[0]["error_message"]


async def test_the_conversation_continues_without_the_old_thinking(world: World) -> None:
    world.model_client.will("claude", Reply(error=REFUSED))
    await ask(world)
    new = {"role": "assistant", "content": [{**THINKING, "signature": "its own"}, TEXT]}
    later = [*HISTORY, new, {"role": "user", "content": "Go on"}]

    response = await ask(world, "r-2", messages=later)

    assert response.status_code == 200
    assert sent(world)[2:] == [[*SAFE, *later[3:]]]


async def test_the_model_is_called_again_only_once(world: World) -> None:
    world.model_client.will("claude", Reply(error=REFUSED), Reply(error=REFUSED))

    response = await ask(world)

    assert response.status_code == 400
    assert "Invalid `signature`" in response.json()["error"]["message"]
    assert len(world.model_client.calls) == 2


async def test_calling_again_counts_as_an_attempt(tmp_path: Path) -> None:
    async with opened(tmp_path, [CLAUDE], max_attempts=1) as world:
        world.model_client.will("claude", Reply(error=REFUSED))

        response = await ask(world)

        assert response.status_code == 400
        assert len(world.model_client.calls) == 1


async def test_any_other_rejection_is_returned_to_the_client(world: World) -> None:
    world.model_client.will(
        "claude", Reply(error=ProviderRejected("thinking: too small a budget", status=400))
    )

    response = await ask(world)

    assert response.status_code == 400
    assert len(world.model_client.calls) == 1
