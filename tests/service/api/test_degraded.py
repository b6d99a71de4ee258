from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from embeddings.cache import CachedEncoder
from tests.fakes import FakeEvidence, Reply
from tests.service.world import World, events_of, opened


async def test_an_answer_is_given_while_the_store_is_down(world: World) -> None:
    world.store.is_down = True

    plain = await world.ask(request_id="r-1")
    streamed = await world.ask(request_id="r-2", stream=True)

    assert plain.status_code == streamed.status_code == 200
    assert plain.headers["X-Router-Degraded"] == streamed.headers["X-Router-Degraded"] == "store"
    assert events_of(streamed)[-1] == "[DONE]"


async def test_answers_given_while_the_store_was_down_are_logged_when_it_is_back(world: World) -> None:
    world.store.is_down = True
    await world.ask(request_id="r-1")
    await world.ask(request_id="r-1")
    world.store.is_down = False

    await world.parts.journal.drain()

    assert len((await world.record("r-1"))["attempts"]) == 2
    assert (await world.rate("r-1", 1.0)).json()["status"] == "applied"


async def test_a_retry_while_the_store_is_down_is_spooled_with_the_first_attempt(world: World) -> None:
    await world.ask(request_id="r-1")
    world.store.is_down = True
    retry = await world.ask(request_id="r-1")
    world.store.is_down = False

    await world.parts.journal.drain()

    record = await world.record("r-1")
    assert retry.status_code == 200
    assert [attempt["position"] for attempt in record["attempts"]] == [0, 1]
    assert record["outcome"]["model"] == retry.headers["X-Router-Model"]


async def test_a_request_in_the_spool_is_not_reported_as_unknown(world: World) -> None:
    world.store.is_read_only = True
    await world.ask(request_id="r-1")

    rated = await world.rate("r-1", 1.0)
    shown = await world.http.get("/requests/r-1")

    assert rated.status_code == shown.status_code == 503
    assert rated.headers["Retry-After"]
    assert "not written to PostgreSQL yet" in rated.json()["error"]["message"]
    assert (await world.rate("r-2", 1.0)).status_code == 503  # another replica may have it in its spool


async def test_an_answer_is_given_even_when_the_spool_has_no_room(tmp_path: Path) -> None:
    async with opened(tmp_path, spool_bytes=0) as world:
        world.store.is_down = True

        response = await world.ask(request_id="r-1")

    assert response.status_code == 200
    assert response.headers["X-Router-Degraded"] == "store"


async def test_an_answer_is_given_when_the_store_comes_back_after_its_decision_was_lost(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path, spool_bytes=0) as world:
        world.store.is_down = True
        proceeds = asyncio.Event()
        world.model_client.will("large", Reply(until=proceeds))
        asking = asyncio.create_task(world.ask(request_id="r-1", model="large", stream=True))
        await world.model_client.call_started.wait()
        world.store.is_down = False
        proceeds.set()

        response = await asking

    assert response.status_code == 200
    assert events_of(response)[-1] == "[DONE]"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_memory_that_is_down_gives_a_decision_without_neighbours(world: World, stream: bool) -> None:
    world.memory.is_down = True

    response = await world.ask(request_id="r-1", stream=stream)

    assert response.status_code == 200
    assert response.headers["X-Router-Degraded"] == "memory"
    assert (await world.record("r-1"))["degraded"] == ["memory"]


async def test_a_decision_without_loaded_evidence_is_marked_degraded(world: World) -> None:
    evidence = world.parts.router.evidence
    assert isinstance(evidence, FakeEvidence)
    evidence.is_loaded = False

    response = await world.ask(request_id="r-1")

    assert response.headers["X-Router-Degraded"] == "store"
    assert (await world.record("r-1"))["degraded"] == ["store"]
    health = (await world.http.get("/health")).json()
    assert (health["status"], health["dependencies"]["postgresql"]["status"]) == ("degraded", "unavailable")


async def test_health_asks_the_encoder_itself_and_not_its_cache(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        world.parts.encoder = CachedEncoder(world.encoder, 10)
        await world.http.get("/health")
        world.encoder.is_down = True
        world.clock.advance(1)

        health = (await world.http.get("/health")).json()

    assert health["dependencies"]["encoder"]["status"] == "unavailable"


async def test_an_encoder_that_is_down_gives_a_decision_without_context(world: World) -> None:
    world.encoder.is_down = True

    response = await world.ask(request_id="r-1")

    assert response.status_code == 200
    assert response.headers["X-Router-Degraded"] == "encoder"
    assert (await world.rate("r-1", 1.0)).json()["status"] == "applied"


async def test_a_stuck_encoder_does_not_delay_a_decision(tmp_path: Path) -> None:
    async with opened(tmp_path, embedding_timeout_s=0.01) as world:
        world.encoder.is_stuck = True

        response = await world.ask()

    assert response.status_code == 200
    assert response.headers["X-Router-Degraded"] == "encoder"


async def test_a_slow_memory_does_not_delay_a_decision(tmp_path: Path) -> None:
    async with opened(tmp_path, memory_timeout_s=0.01) as world:
        world.memory.recall_s = 30.0

        response = await world.ask()

    assert response.status_code == 200
    assert response.headers["X-Router-Degraded"] == "memory"


async def test_every_unavailable_dependency_is_named(world: World) -> None:
    world.memory.is_down = world.store.is_down = True

    response = await world.ask()

    assert response.headers["X-Router-Degraded"] == "memory, store"
