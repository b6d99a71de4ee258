from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from service.errors import ProviderBroken
from tests.fakes import ANY, Reply
from tests.service.world import World, events_of, opened, text_of

BROKEN = ProviderBroken("gone", status=500)


@pytest.fixture
async def caching(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path, cache_enabled=True, cache_ttl_seconds=60, cache_max_size=10) as world:
        yield world


async def test_the_same_question_is_answered_again_without_a_model(caching: World) -> None:
    first = await caching.ask(request_id="r-1")
    again = await caching.ask(request_id="r-2")

    assert again.headers["X-Router-Decision"] == "cache"
    assert again.headers["X-Router-Model"] == first.headers["X-Router-Model"]
    assert again.json() == first.json()
    assert len(caching.model_client.calls) == 1
    record = await caching.record("r-2")
    assert (record["decision"], record["attempts"], record["outcome"]["cost_usd"]) == ("cache", [], 0)


async def test_an_answer_from_the_cache_can_be_streamed(caching: World) -> None:
    await caching.ask()

    response = await caching.ask(stream=True)

    events = events_of(response)
    assert response.headers["X-Router-Decision"] == "cache"
    assert text_of(events) == "Hello there."
    assert events[-1] == "[DONE]"


async def test_a_retry_of_a_cached_request_is_no_second_decision(caching: World) -> None:
    await caching.ask(request_id="r-1")
    await caching.ask(request_id="r-2")

    retry = await caching.ask(request_id="r-2")

    assert retry.status_code == 200
    assert len(caching.store.decisions) == 2
    assert len(caching.model_client.calls) == 1
    assert retry.headers["X-Router-Decision"] == "cache"
    assert (await caching.record("r-2"))["attempts"] == []


@pytest.mark.parametrize("stream", [False, True])
async def test_a_retry_of_a_cached_request_calls_a_model_if_the_answer_has_expired(
    caching: World, stream: bool
) -> None:
    await caching.ask(request_id="r-1")
    await caching.ask(request_id="r-2", stream=stream)
    await caching.http.post("/cache/clear")
    caching.model_client.will(ANY, Reply(words=(), error=BROKEN), Reply(words=("Again.",)))

    retry = await caching.ask(request_id="r-2", stream=stream)

    record = await caching.record("r-2")
    assert "Again." in retry.text
    assert retry.headers["X-Router-Decision"] == record["outcome"]["decision"] == "fallback"
    assert [attempt["status"] for attempt in record["attempts"]] == ["failed", "ok"]
    assert len(caching.store.decisions) == 2
    assert sum(sums.n_outcomes for sums in caching.store.sums["default"].values()) == 2


@pytest.mark.parametrize("other", [{"seed": 1}, {"model": "large"}, {"router": {"models": ["large"]}}])
async def test_another_question_is_not_answered_from_the_cache(caching: World, other: dict[str, Any]) -> None:
    await caching.ask()

    response = await caching.ask(**other)

    assert response.headers["X-Router-Decision"] != "cache"


async def test_an_old_answer_is_not_used(caching: World) -> None:
    await caching.ask()
    caching.clock.advance(61)

    response = await caching.ask()

    assert response.headers["X-Router-Decision"] != "cache"


async def test_repeating_an_answer_adds_no_evidence_on_the_arm(caching: World) -> None:
    await caching.ask(request_id="r-1")
    before = dict(caching.store.sums["default"])

    await caching.ask(request_id="r-2")

    assert caching.store.sums["default"] == before


async def test_the_cache_counts_and_can_be_emptied(caching: World) -> None:
    await caching.ask()
    await caching.ask()
    stats = (await caching.http.get("/cache/stats")).json()

    cleared = (await caching.http.post("/cache/clear")).json()

    assert stats == {
        "enabled": True,
        "size": 1,
        "max_size": 10,
        "hits": 1,
        "misses": 1,
        "total_requests": 2,
        "hit_rate": 0.5,
        "ttl_seconds": 60,
        "shared": False,
        "shared_size": None,
        "semantic": False,
        "semantic_hits": 0,
    }
    assert cleared == {"cleared": 1}
    assert (await caching.ask()).headers["X-Router-Decision"] != "cache"


async def test_without_the_knob_nothing_is_cached(world: World) -> None:
    world.model_client.will(ANY, Reply(words=("One.",)), Reply(words=("Two.",)))

    answers = [(await world.ask()).json()["choices"][0]["message"]["content"] for _ in range(2)]

    assert answers == ["One.", "Two."]
    assert (await world.http.get("/cache/stats")).json()["enabled"] is False


async def test_the_cache_does_not_return_answers_of_a_retired_model(caching: World) -> None:
    await caching.ask(model="medium")
    await caching.http.delete("/admin/models/medium")

    again = await caching.ask(model="medium")

    assert again.status_code == 404
