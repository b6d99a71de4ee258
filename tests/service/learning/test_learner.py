from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from service.domain.feedback import Experience, Feedback, Pending
from service.learning.rewards import reward_of
from tests.fakes import FakeEvidence, FakeMemory
from tests.service.world import ARMS, World, arm, opened

POEMS = "write a poem about"
SUMS = "calculate the integral of"
TWINS = (arm("left", "1"), arm("right", "1"))  # they differ only in their ratings


async def answered_by(world: World, arm_id: str, text: str, request_id: str, score: float) -> None:
    """One request, answered by that arm and rated."""
    await world.ask(text, request_id=request_id, model=arm_id)
    assert (await world.rate(request_id, score)).status_code == 202


async def taught(world: World) -> None:
    """Left writes well and calculates badly; right the other way round."""
    for i in range(12):
        await answered_by(world, "left", f"{POEMS} river {i}", f"lp-{i}", 0.9)
        await answered_by(world, "right", f"{POEMS} river {i}", f"rp-{i}", 0.2)
        await answered_by(world, "left", f"{SUMS} x {i}", f"ls-{i}", 0.2)
        await answered_by(world, "right", f"{SUMS} x {i}", f"rs-{i}", 0.9)


async def test_one_feedback_changes_the_next_decision(world: World) -> None:
    # The answer itself changes latency and cost; this compares before and after the rating alone.
    await world.ask("What is a bandit?", request_id="r-1", model="small")
    before = await world.weigh("What is a bandit?")
    await world.rate("r-1", 0.0)

    after = await world.weigh("What is a bandit?")

    assert after["small"] < before["small"]
    assert sum(after.values()) == pytest.approx(1)


async def test_a_higher_rating_makes_an_arm_more_likely(tmp_path: Path) -> None:
    async with opened(tmp_path, TWINS) as world:
        for i in range(3):
            await answered_by(world, "left", f"Question {i}", f"l-{i}", 0.9)
            await answered_by(world, "right", f"Question {i}", f"r-{i}", 0.6)

        weighed = await world.weigh("Another thing")

    assert weighed["left"] > 0.6


async def test_an_arm_is_chosen_for_the_requests_that_it_answers_well(tmp_path: Path) -> None:
    async with opened(tmp_path, TWINS) as world:
        before = await world.weigh(f"{POEMS} the sea")
        await taught(world)

        poem = await world.weigh(f"{POEMS} the sea")
        calculation = await world.weigh(f"{SUMS} y")

    assert before["left"] == pytest.approx(0.5, abs=0.05)
    assert poem["left"] > 0.8
    assert calculation["left"] < 0.2


async def test_a_request_unlike_the_rated_ones_stays_undecided(tmp_path: Path) -> None:
    async with opened(tmp_path, TWINS) as world:
        await taught(world)

        poem = await world.weigh(f"{POEMS} the sea")
        unlike = await world.weigh("translate diesem satz bitte")

    assert abs(unlike["left"] - 0.5) < abs(poem["left"] - 0.5)


async def test_withdrawing_feedback_restores_the_probabilities(world: World) -> None:
    await world.ask("What is a bandit?", request_id="r-1", model="small")
    before = await world.weigh("What is a bandit?")
    await world.rate("r-1", 0.0)
    during = await world.weigh("What is a bandit?")

    await world.http.delete("/feedback/r-1")

    assert during != before
    assert await world.weigh("What is a bandit?") == before


async def test_revised_feedback_has_the_same_effect_as_sending_it_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path / "a", TWINS) as revised, opened(tmp_path / "b", TWINS) as direct:
        await answered_by(revised, "left", "Hi", "r-1", 0.1)
        await revised.rate("r-1", 0.9)
        await answered_by(direct, "left", "Hi", "r-1", 0.9)

        revised_odds, direct_odds = await revised.weigh("Hi"), await direct.weigh("Hi")

    assert revised_odds == pytest.approx(direct_odds, abs=1e-9)


async def test_feedback_may_come_in_any_order(tmp_path: Path) -> None:
    async with opened(tmp_path / "a", TWINS) as forth, opened(tmp_path / "b", TWINS) as back:
        for world in (forth, back):
            for i in range(6):
                await world.ask(f"Question {i}", request_id=f"r-{i}", model=TWINS[i % 2].arm_id)
        for i in range(6):
            await forth.rate(f"r-{i}", i / 6)
            await back.rate(f"r-{5 - i}", (5 - i) / 6)

        forth_odds, back_odds = await forth.weigh("Question 3"), await back.weigh("Question 3")

    assert forth_odds == pytest.approx(back_odds, abs=1e-9)


async def test_feedback_without_a_context_counts_as_global_evidence(world: World) -> None:
    world.encoder.is_down = True
    await world.ask("What is a bandit?", request_id="r-1", model="small")
    world.encoder.is_down = False
    before = await world.weigh("What is a bandit?")
    await world.rate("r-1", 0.0)

    after = await world.weigh("What is a bandit?")

    assert after["small"] < before["small"]
    await world.parts.learner.idle()
    assert world.store.queue == {}


# --- a memory that lags


async def test_a_sweep_updates_a_memory_that_was_unreachable(world: World) -> None:
    await world.ask("Hi", request_id="r-1", model="small")
    world.memory.is_down = True
    await world.rate("r-1", 0.9)
    world.memory.is_down = False
    lagging = await world.memory.count()

    done = await world.parts.learner.sweep()

    assert (lagging, done, await world.memory.count()) == (0, 1, 1)
    assert await world.parts.learner.sweep() == 0


async def test_a_sweep_forgets_feedback_that_was_withdrawn_meanwhile(world: World) -> None:
    await answered_by(world, "small", "Hi", "r-1", 0.9)
    world.memory.is_down = True
    await world.http.delete("/feedback/r-1")
    world.memory.is_down = False

    await world.parts.learner.sweep()

    assert await world.memory.count() == 0


async def test_the_newest_score_is_the_one_remembered(world: World) -> None:
    await answered_by(world, "small", "Hi", "r-1", 0.1)
    await world.rate("r-1", 0.8)

    [experience] = world.memory.points.values()

    assert experience.reward == 0.8
    assert experience.arm_id == "small"


async def test_a_memory_of_another_encoder_is_not_mixed_in(world: World) -> None:
    learner = replace(world.parts.learner, encoder="another")
    await world.ask("Hi", request_id="r-1", model="small")

    await learner.learn(Feedback("default", "r-1", 0.9, None, world.clock()))
    await learner.idle()

    assert await world.memory.count() == 0
    assert world.store.queue == {}


class BrokenMemory(FakeMemory):
    """Fails at some requests with an unexpected error."""

    broken: frozenset[str] = frozenset()

    async def remember(self, experiences: Sequence[Experience]) -> None:
        if any(experience.request_id in self.broken for experience in experiences):
            raise ValueError("context must have shape (3,)")
        await super().remember(experiences)


async def test_feedback_is_committed_even_if_remembering_it_fails_unexpectedly(world: World) -> None:
    memory = BrokenMemory()
    memory.broken = frozenset({"r-1"})
    learner = replace(world.parts.learner, memory=memory)
    await world.ask("Hi", request_id="r-1", model="small")

    learned = await learner.learn(Feedback("default", "r-1", 0.9, None, world.clock()))

    assert learned.status == "applied"
    assert list(world.store.queue) == [learned.decision_id]


async def test_a_sweep_skips_decisions_that_fail_and_applies_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.learning.learner.SWEEP_BATCH", 1)
    world.memory.is_down = True
    for request_id in ("bad-1", "bad-2", "good"):
        await answered_by(world, "small", "Hi", request_id, 0.9)
    memory = BrokenMemory()
    memory.broken = frozenset({"bad-1", "bad-2"})
    learner = replace(world.parts.learner, memory=memory)

    done = await learner.sweep()

    assert (done, await memory.count(), len(world.store.queue)) == (1, 1, 2)
    memory.broken = frozenset()
    assert await learner.sweep() == 2


class BrokenOnce(FakeEvidence):
    """Fails at the first read of the queue with an unexpected error."""

    is_broken = True
    caught_up: asyncio.Event

    async def pending(self, limit: int) -> list[Pending]:
        if self.is_broken:
            self.is_broken = False
            raise KeyError("reward")
        waiting = await super().pending(limit)
        if not waiting:
            self.caught_up.set()
        return waiting


async def test_sweeping_continues_after_any_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.learning.learner.SWEEP_EVERY_S", 0.0)
    world.memory.is_down = True
    await answered_by(world, "small", "Hi", "r-1", 0.9)
    world.memory.is_down = False
    evidence = BrokenOnce(world.store)
    evidence.caught_up = asyncio.Event()
    learner = replace(world.parts.learner, evidence=evidence)

    sweeping = asyncio.create_task(learner.sweep_forever())
    async with asyncio.timeout(10):
        await evidence.caught_up.wait()
    sweeping.cancel()

    assert await world.memory.count() == 1


class HangingMemory(FakeMemory):
    """Never answers a write; counts how many were tried."""

    n_tried = 0

    async def remember(self, experiences: Sequence[Experience]) -> None:
        self.n_tried += 1
        await asyncio.Event().wait()


@pytest.mark.parametrize(("retry_s", "n_tried"), [(3600.0, 1), (0.0, 3)])
async def test_after_a_timeout_feedback_does_not_wait_for_the_memory_until_the_retry(
    world: World, retry_s: float, n_tried: int
) -> None:
    memory = HangingMemory()
    learner = replace(world.parts.learner, memory=memory, memory_timeout_s=0.001, memory_retry_s=retry_s)
    for i in range(3):
        await world.ask("Hi", request_id=f"r-{i}", model="small")
    await world.parts.learner.idle()  # it learns that the question was repeated

    for i in range(3):
        await learner.learn(Feedback("default", f"r-{i}", 0.9, None, world.clock()))

    assert memory.n_tried == n_tried
    assert len(world.store.queue) == 3


class InterruptedEvidence(FakeEvidence):
    """Newer feedback arrives just before the memory is marked as up to date."""

    newer: Feedback | None = None

    async def mark_remembered(self, remembered: Collection[Pending]) -> set[UUID]:
        newer, self.newer = self.newer, None
        if newer is not None:
            await self.learn(newer, reward_of(newer))
        return await super().mark_remembered(remembered)


@pytest.mark.parametrize(("newer", "remembered"), [(0.2, [0.2]), (None, [])])
async def test_feedback_that_arrives_while_the_memory_is_written_is_applied_too(
    world: World, newer: float | None, remembered: list[float]
) -> None:
    evidence = InterruptedEvidence(world.store)
    learner = replace(world.parts.learner, evidence=evidence)
    await world.ask("Hi", request_id="r-1", model=ARMS[0].arm_id)
    first = Feedback("default", "r-1", 0.9, None, world.clock())
    evidence.newer = replace(first, score=newer)

    await learner.learn(first)
    await learner.idle()

    assert [experience.reward for experience in world.memory.points.values()] == remembered
    assert world.store.queue == {}


async def test_feedback_on_an_unknown_request_names_the_age_of_deleted_ones(tmp_path: Path) -> None:
    async with opened(tmp_path, retention_days=30) as world:
        response = await world.rate("r-1", 0.5)

    assert response.status_code == 404
    assert "or is older than RETENTION_DAYS, 30" in response.json()["error"]["message"]
