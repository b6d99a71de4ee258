"""Servers that ignore `n` and give one choice instead of several."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service.domain.arm import Arm
from service.domain.basics import Json
from service.providers.clients import ProviderClients
from service.providers.openai_compatible import OpenAICompatibleClient
from tests.service.providers import scripted
from tests.service.providers.scripted import Script, Upstream, answers, chunk_body, completion, event, streams
from tests.service.world import World, error_of, events_of, opened

TWO: dict[str, Any] = {"n": 2, "model": "auto"}


def several(*texts: str) -> Json:
    choices = [
        {"index": i, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        for i, text in enumerate(texts)
    ]
    return {**completion(""), "choices": choices}


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with scripted.serving() as upstream:
        yield upstream


@pytest.fixture
async def world(tmp_path: Path, upstream: Upstream) -> AsyncIterator[World]:
    """The model `one` is always called first, then `many`."""
    arms = [Arm(name, "openai", name, base_url=upstream.base_url) for name in ("one", "many")]
    async with opened(tmp_path, arms, min_confidence_score=1.0, propensity_floor=0.0) as world:
        model_client = ProviderClients({"openai": OpenAICompatibleClient({}, world.clock)})
        world.parts.completion = replace(world.parts.completion, model_client=model_client)
        yield world
        await model_client.close()


async def test_a_model_that_ignores_n_is_replaced_by_one_that_does_not(
    world: World, upstream: Upstream
) -> None:
    upstream.by_model = {"one": answers(several("A")), "many": answers(several("A", "B"))}

    response = await world.ask(request_id="r-1", **TWO)

    assert [choice["message"]["content"] for choice in response.json()["choices"]] == ["A", "B"]
    assert response.headers["X-Router-Model"] == "many"
    first, _ = (await world.record("r-1"))["attempts"]
    assert first["error_message"] == "n: one gave 1 of 2 choices"
    assert first["usage"]["prompt_tokens"] > 0  # the call is billed


async def test_ignoring_n_does_not_count_against_the_model(world: World, upstream: Upstream) -> None:
    upstream.by_model = {"one": answers(several("A")), "many": answers(several("A", "B"))}

    for _ in range(5):
        await world.ask(**TWO)

    assert world.parts.catalog.breaker.open_reason(world.parts.catalog.find("one")) is None
    assert (await world.ask()).headers["X-Router-Model"] == "one"


async def test_when_no_model_gives_every_choice_the_client_gets_an_error(
    world: World, upstream: Upstream
) -> None:
    upstream.script = answers(several("A"))

    response = await world.ask(**TWO)

    assert response.status_code == 400
    assert (error_of(response)["param"], error_of(response)["code"]) == ("n", "unsupported_parameter")


def delta(index: int, text: str, finish_reason: str | None = None) -> bytes:
    choice = {"index": index, "delta": {"content": text}, "finish_reason": finish_reason}
    return event(chunk_body(choices=[choice]))


@pytest.mark.parametrize(
    ("script", "is_clean"),
    [
        (streams(delta(0, "A"), delta(0, "", "stop"), b"data: [DONE]\n\n"), False),
        (
            streams(
                delta(1, "B"), delta(0, "A"), delta(0, "", "stop"), delta(1, "", "stop"), b"data: [DONE]\n\n"
            ),
            True,
        ),
    ],
    ids=["one", "both"],
)
async def test_a_stream_of_too_few_choices_does_not_end_cleanly(
    world: World, upstream: Upstream, script: Script, is_clean: bool
) -> None:
    upstream.script = script

    events = events_of(await world.ask(stream=True, **TWO))

    assert (events[-1] == "[DONE]") is is_clean
    assert ("error" in events[-1]) is not is_clean
