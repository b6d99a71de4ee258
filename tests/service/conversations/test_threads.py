"""Requests that continue a thread, whose earlier messages only Anthropic has (beta `message-threads`)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from service.domain.basics import Json
from tests.service.world import World, arm, opened

BETA = "message-threads-2026-08-12"
WORDS = f"capability_rejected: beta_header:{BETA}"
GPT = arm("gpt", "1", 100_000, "tools")
CLAUDE = replace(arm("claude", "2"), provider="anthropic")
OTHER_CLAUDE = replace(arm("other-claude", "0.1"), provider="anthropic")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path, [GPT, CLAUDE, OTHER_CLAUDE]) as world:
        yield world


async def post(
    world: World, text: str, *, session_id: str | None = "s", thread: Json | None = None, **body: object
) -> httpx.Response:
    names = {} if session_id is None else {"X-Claude-Code-Session-Id": session_id}
    fields = {} if thread is None else {"thread": thread}
    messages = [{"role": "user", "content": text}]
    response = await world.http.post(
        "/v1/messages",
        json={"max_tokens": 100, "messages": messages, **fields, **body},
        headers={"anthropic-beta": BETA, **names},
    )
    world.clock.advance(1.0)
    return response


CONTINUE = {"type": "continue", "previous_message_id": "msg_1"}


def assert_refused(response: httpx.Response) -> None:
    body = response.json()
    assert response.status_code == 400
    assert (body["type"], body["error"]["type"]) == ("error", "invalid_request_error")
    assert WORDS in body["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [{"model": "gpt"}, {"router": {"models": ["gpt"]}}],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_thread_is_not_continued_by_a_model_that_lacks_its_messages(
    world: World, body: Json, stream: bool
) -> None:
    assert_refused(await post(world, "And now?", thread=CONTINUE, stream=stream, **body))
    assert world.model_client.calls == []


async def test_the_word_alone_continues_a_thread_too(world: World) -> None:
    messages = [{"role": "user", "content": "And now?"}]
    body = {"max_tokens": 100, "messages": messages, "thread": "continue", "model": "gpt"}

    assert_refused(await world.http.post("/v1/messages", json=body))


async def test_a_thread_is_not_continued_elsewhere_than_where_the_conversation_is(world: World) -> None:
    await post(world, "Hi", thread={"type": "create"}, model="gpt")
    assert_refused(await post(world, "And now?", thread=CONTINUE))
    await post(world, "Hi", thread={"type": "create"}, model="claude")
    assert_refused(await post(world, "And now?", thread=CONTINUE, model="other-claude"))


async def test_a_thread_is_continued_by_the_model_that_has_it(world: World) -> None:
    await post(world, "Hi", thread={"type": "create"}, model="claude")
    answers = [await post(world, f"And {i}?", thread=CONTINUE) for i in range(5)]

    assert {answer.headers["x-router-model"] for answer in answers} == {"claude"}
    assert all(native is not None and native.body["thread"] for native in world.model_client.natives)


async def test_a_thread_of_an_unknown_conversation_goes_to_models_of_its_dialect(world: World) -> None:
    answers = [await post(world, f"And {i}?", session_id=None, thread=CONTINUE) for i in range(20)]

    assert {answer.headers["x-router-model"] for answer in answers} <= {"claude", "other-claude"}


@pytest.mark.parametrize("thread", [{"type": "create"}, {"type": "new"}, {}])
async def test_a_request_with_all_its_messages_goes_to_any_model(world: World, thread: Json) -> None:
    answer = await post(world, "Hi", thread=thread, model="gpt")

    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("thread", ["create", None, 3, ["continue"]])
async def test_a_thread_of_another_form_is_no_thread(world: World, thread: object) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    body = {"max_tokens": 100, "messages": messages, "thread": thread, "model": "claude"}

    assert (await world.http.post("/v1/messages", json=body)).status_code == 200
