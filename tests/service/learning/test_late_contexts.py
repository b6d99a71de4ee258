"""Requests whose arm is certain are embedded after the answer, and are neighbours all the same once rated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from embeddings.cache import CachedEncoder
from service.domain.query import Options
from service.learning.late_contexts import LateContexts
from tests.fakes import FakeEncoder, FakeEvidence, FakeStore
from tests.integration.stores import a_decision, a_query
from tests.service.world import World, opened


def contexts(
    encoder: FakeEncoder, evidence: FakeEvidence, dropped: list[int] | None = None, **limits: int
) -> LateContexts:
    counted: list[int] = [] if dropped is None else dropped
    return LateContexts(
        encoder, evidence, are_spooled=lambda: False, timeout_s=1.0, on_dropped=counted.append, **limits
    )


async def test_a_request_to_a_named_model_asks_neither_encoder_nor_memory(world: World) -> None:
    world.encoder.is_down = world.memory.is_down = True

    response = await world.ask("What is a bandit?", request_id="r-1", model="big")

    record = await world.record("r-1")
    assert response.status_code == 200
    assert world.encoder.texts == []
    assert (record["decision"], record["chosen_model"], record["propensity"]) == ("pinned", "large", 1.0)
    assert [(c["model"], c["probability"]) for c in record["candidates"]] == [("large", 1.0)]
    assert record["degraded"] == []


async def test_a_rated_request_to_a_named_model_becomes_a_neighbour(world: World) -> None:
    await world.ask("What is a bandit?", request_id="r-1", model="big")

    await world.rate("r-1", 1.0)

    assert [point.request_id for point in world.memory.points.values()] == ["r-1"]
    assert world.encoder.texts == ["What is a bandit?"]


async def test_a_rating_counts_while_the_encoder_is_down_and_is_a_neighbour_later(world: World) -> None:
    await world.ask("What is a bandit?", request_id="r-1", model="big")
    world.encoder.is_down = True
    await world.rate("r-1", 1.0)
    learned = world.store.sums["default"]["large"].n
    world.encoder.is_down = False
    assert world.parts.learner.late_contexts is not None

    await world.parts.learner.late_contexts.make_for_requests("default", ["r-1"])
    await world.parts.learner.sweep()

    assert learned == 1
    assert [point.request_id for point in world.memory.points.values()] == ["r-1"]


async def test_a_rating_at_another_replica_becomes_a_neighbour_when_the_context_is_written(
    tmp_path: Path,
) -> None:
    store = FakeStore()
    async with opened(tmp_path / "a", store=store) as here, opened(tmp_path / "b", store=store) as there:
        await here.ask("What is a bandit?", request_id="r-1", model="big")
        await there.rate("r-1", 1.0)
        before = len(there.memory.points)
        assert here.parts.learner.late_contexts is not None

        await here.parts.learner.late_contexts.make_for_requests("default", ["r-1"])
        await there.parts.learner.sweep()

    assert before == 0
    assert [point.request_id for point in there.memory.points.values()] == ["r-1"]


async def test_a_text_that_was_embedded_before_gives_the_context_at_once(world: World) -> None:
    encoder = CachedEncoder(world.encoder, 10)
    router = replace(world.parts.router, encoder=encoder)
    query = replace(a_query(), requested_model="large", options=Options())

    vector = await encoder.encode(query.text)

    decision = await router.decide(query)

    assert decision.kind == "pinned"
    assert decision.context is vector
    assert decision.encoder == "fake"
    assert world.parts.learner.late_contexts is not None
    assert len(world.parts.learner.late_contexts) == 0


async def test_explained_requests_are_weighed(world: World) -> None:
    await world.ask("What is a bandit?", request_id="r-1", model="big", router={"explain": True})

    assert world.encoder.texts == ["What is a bandit?"]


async def test_the_oldest_texts_are_dropped_beyond_the_limits() -> None:
    dropped: list[int] = []
    waiting = contexts(FakeEncoder(), FakeEvidence(), dropped, max_texts=2)

    for i in range(5):
        waiting.keep(replace(a_decision(f"r-{i}"), context=None, encoder=None))

    assert len(waiting) == 2
    assert sum(dropped) == 3


async def test_a_text_beyond_the_bytes_is_dropped() -> None:
    dropped: list[int] = []
    waiting = contexts(FakeEncoder(), FakeEvidence(), dropped, max_bytes=1_000)

    waiting.keep(replace(a_decision(text="a" * 2_000), context=None, encoder=None))

    assert (len(waiting), sum(dropped)) == (0, 1)


@pytest.mark.parametrize("learns", [True, False])
async def test_only_requests_that_can_be_learned_from_wait(learns: bool) -> None:
    waiting = contexts(FakeEncoder(), FakeEvidence())

    waiting.keep(replace(a_decision(learn=learns), context=None, encoder=None))

    assert len(waiting) == int(learns)
