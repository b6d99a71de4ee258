from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Scope

from service.api.respond import respond
from service.dialects.chat.dialect import CHAT
from tests.fakes import ANY, Reply
from tests.service.completion.test_completion import query
from tests.service.world import opened

SCOPE: Scope = {"type": "http", "method": "POST", "path": "/", "headers": []}


async def nothing(message: Message) -> None: ...


@pytest.mark.parametrize("keepalive_after_s", [25.0, 1e-6])
@pytest.mark.parametrize("steps", range(30))
async def test_a_disconnect_at_any_moment_ends_the_models_call(
    tmp_path: Path, steps: int, keepalive_after_s: float
) -> None:
    async def receive() -> Message:
        for _ in range(steps):  # of the event loop
            await asyncio.sleep(0)
        return {"type": "http.disconnect"}

    async with opened(tmp_path, keepalive_after_s=keepalive_after_s) as world:
        world.model_client.will(ANY, Reply(words=("Half an",), until=asyncio.Event()))

        with suppress(ClientDisconnect):
            response = await respond(Request(SCOPE, receive), world.parts, query(stream=True), CHAT)
            await response(SCOPE, receive, nothing)

        await world.background.drain(5.0)
        assert world.model_client.cancelled == world.model_client.called
        statuses = [attempt.status for attempt in world.store.attempts.values()]
        assert statuses == ["cancelled"] * len(world.model_client.called)
