"""The contract of the memory, tested on the fake, the embedded engine and a real Qdrant server."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient

from embeddings.encoder import normalise
from service.domain.basics import Vector
from service.domain.decision import Neighbour
from service.domain.feedback import Experience
from service.domain.neighbours import NeighbourQuery
from service.domain.ports import Memory
from service.errors import MemoryUnavailable, StartupError
from service.memory.edge import EdgeMemory
from service.memory.points import Found, to_experience, to_neighbours, to_payload
from service.memory.qdrant import MOST_POINTS_PER_PROMPT, QdrantMemory
from tests.fakes_memory import FakeMemory
from tests.integration.qdrant_server import QdrantServer

NOW = datetime(2026, 7, 1, 12, 0, 0, 123_457, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=365)
ENCODER = "an/odd encoder: ü"
DIMENSION = 8
CAP = 20
EAST = np.eye(DIMENSION, dtype=np.float32)[0]
NORTH = np.eye(DIMENSION, dtype=np.float32)[1]

OpenMemory = Callable[..., Awaitable[Memory]]


def towards_east(cosine: float) -> Vector:
    vector = cosine * EAST + np.sqrt(1 - cosine**2) * NORTH
    return np.asarray(vector, dtype=np.float32)


def make_experience(**changes: Any) -> Experience:
    fields: dict[str, Any] = {
        "decision_id": uuid4(),
        "tenant": "acme",
        "request_id": "r-1",
        "arm_id": "openai/gpt-5",
        "encoder": ENCODER,
        "context": EAST,
        "reward": 0.75,
        "weight": 1.0,
        "latency_s": 1.25,
        "cost_usd": 0.0005,
        "decided_at": NOW - timedelta(hours=1),
        "task": None,
    }
    return Experience(**(fields | changes))


def make_series(n_points: int, **changes: Any) -> list[Experience]:
    """Experiences a second apart, oldest first."""
    start = NOW - timedelta(hours=1)
    return [make_experience(decided_at=start + timedelta(seconds=i), **changes) for i in range(n_points)]


async def recall_east(memory: Memory, **changes: Any) -> list[Neighbour]:
    query = NeighbourQuery(EAST, tenant="acme", limit=10, min_similarity=-1.0, since=LONG_AGO, now=NOW)
    return list(await memory.recall(replace(query, **changes)))


async def ids_of(memory: Memory) -> set[UUID]:
    return {experience.decision_id async for experience in memory.all()}


def comparable(experience: Experience) -> tuple[Any, ...]:
    """All fields but the vector, which compares element by element."""
    return tuple(getattr(experience, name) for name in Experience.__slots__ if name != "context")


async def open_edge(directory: Path, *, cap: int = CAP, encoder: str = ENCODER) -> EdgeMemory:
    return await EdgeMemory.open(directory, encoder=encoder, dimension=DIMENSION, max_points_per_arm=cap)


async def open_qdrant(
    url: str, *, cap: int = CAP, encoder: str = ENCODER, timeout_s: float = 10.0
) -> QdrantMemory:
    return await QdrantMemory.connect(
        url,
        api_key=None,
        name="router",
        encoder=encoder,
        dimension=DIMENSION,
        max_points_per_arm=cap,
        timeout_s=timeout_s,
    )


async def open_fake() -> FakeMemory:
    return FakeMemory(encoder=ENCODER, max_points_per_arm=CAP)


@pytest.fixture(params=["fake", "edge", "qdrant"])
async def memory(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Memory]:
    openers: dict[str, Callable[[], Awaitable[Memory]]] = {
        "fake": open_fake,
        "edge": partial(open_edge, tmp_path),
        "qdrant": lambda: open_qdrant(request.getfixturevalue("qdrant_url")),
    }
    memory = await openers[request.param]()
    await memory.clear()
    yield memory
    await memory.close()


# --- what every memory does -----------------------------------------------------------------------------


async def test_an_empty_memory_recalls_nothing(memory: Memory) -> None:
    assert await recall_east(memory) == []
    assert await memory.count() == 0
    assert await ids_of(memory) == set()
    await memory.ping()


async def test_a_remembered_decision_is_recalled_at_once_with_all_its_numbers(memory: Memory) -> None:
    numbers = {"reward": 0.1 + 0.2, "weight": 1 / 3, "latency_s": 2.0000000000000004, "cost_usd": 1e-9 / 7}
    experience = make_experience(task="summarise", **numbers)

    await memory.remember([experience])

    assert await recall_east(memory) == [
        Neighbour(
            decision_id=experience.decision_id,
            request_id="r-1",
            arm_id="openai/gpt-5",
            similarity=1.0,
            age_s=3600.0,
            task="summarise",
            prompt=0,
            **numbers,
        )
    ]


async def test_an_unknown_cost_is_recalled_as_unknown(memory: Memory) -> None:
    experience = make_experience(cost_usd=None)
    await memory.remember([experience])

    [neighbour] = await recall_east(memory)

    assert neighbour.cost_usd is None
    assert [comparable(e) async for e in memory.all()] == [comparable(experience)]


async def test_all_returns_every_remembered_experience(memory: Memory) -> None:
    rng = np.random.default_rng(7)
    contexts = rng.normal(size=(1_200, DIMENSION)).astype(np.float32)
    contexts /= np.linalg.norm(contexts, axis=1, keepdims=True)
    experiences = [
        make_experience(
            tenant=f"tenant-{i % 10}",
            request_id=f"r-{i}",
            arm_id=f"arm-{i % 7}",
            context=context,
            reward=float(rng.random()),
            weight=float(rng.random()),
            latency_s=float(rng.exponential()),
            cost_usd=float(rng.exponential(1e-4)),
            task=[None, "a", "~!"][i % 3],
            decided_at=NOW - timedelta(microseconds=int(rng.integers(10**12))),
        )
        for i, context in enumerate(contexts)
    ]

    await memory.remember(experiences)

    found = {experience.decision_id: experience async for experience in memory.all()}
    assert {comparable(one) for one in found.values()} == {comparable(one) for one in experiences}
    np.testing.assert_allclose(
        [found[one.decision_id].context for one in experiences], contexts, rtol=0, atol=1e-6
    )


async def test_neighbours_come_most_similar_first(memory: Memory) -> None:
    cosines = [0.2, 0.9, -0.5, 0.6, 0.0]
    await memory.remember([make_experience(context=towards_east(cosine)) for cosine in cosines])

    neighbours = await recall_east(memory)

    assert [one.similarity for one in neighbours] == pytest.approx([0.9, 0.6, 0.2, 0.0, -0.5], abs=1e-6)


async def test_recall_returns_at_most_the_limit_and_these_are_the_nearest(memory: Memory) -> None:
    cosines = [0.2, 0.9, 0.6]
    await memory.remember([make_experience(context=towards_east(cosine)) for cosine in cosines])

    neighbours = await recall_east(memory, limit=2)

    assert [one.similarity for one in neighbours] == pytest.approx([0.9, 0.6], abs=1e-6)


@pytest.mark.parametrize(
    ("min_similarity", "expected"),
    [(-1.0, [1.0, 0.5, 0.0, -0.5, -1.0]), (0.0, [1.0, 0.5, 0.0]), (0.4, [1.0, 0.5]), (0.999, [1.0])],
)
async def test_recall_leaves_out_the_less_similar(
    memory: Memory, min_similarity: float, expected: list[float]
) -> None:
    cosines = [1.0, 0.5, 0.0, -0.5, -1.0]
    await memory.remember([make_experience(context=towards_east(cosine)) for cosine in cosines])

    neighbours = await recall_east(memory, min_similarity=min_similarity)

    assert [one.similarity for one in neighbours] == pytest.approx(expected, abs=1e-6)
    assert all(-1 <= one.similarity <= 1 for one in neighbours)


async def test_recall_leaves_out_what_was_decided_before_since_to_the_microsecond(memory: Memory) -> None:
    since = NOW - timedelta(days=3)
    in_time = make_experience(decided_at=since)
    too_old = make_experience(decided_at=since - timedelta(microseconds=1))
    await memory.remember([in_time, too_old])

    neighbours = await recall_east(memory, since=since)

    assert [one.decision_id for one in neighbours] == [in_time.decision_id]


async def test_tenants_never_see_each_other(memory: Memory) -> None:
    ours, theirs = make_experience(tenant="acme"), make_experience(tenant="Acme ")
    await memory.remember([ours, theirs])

    assert [one.decision_id for one in await recall_east(memory)] == [ours.decision_id]
    assert [one.decision_id for one in await recall_east(memory, tenant="Acme ")] == [theirs.decision_id]
    assert await recall_east(memory, tenant="acm") == []
    assert await memory.count() == 2


def make_prompts(cosines: Iterable[float], arms: Iterable[str], **changes: Any) -> list[Experience]:
    """Every arm's outcome on a prompt at each cosine, shuffled."""
    answered = [
        make_experience(context=towards_east(cosine), arm_id=arm, **changes)
        for cosine in cosines
        for arm in arms
    ]
    return [answered[i] for i in np.random.default_rng(0).permutation(len(answered))]


def shown(neighbours: Iterable[Neighbour]) -> list[tuple[int | None, float, str]]:
    return sorted((one.prompt, round(one.similarity, 3), one.arm_id) for one in neighbours)


@pytest.mark.parametrize(("n_arms", "limit"), [(1, 5), (2, 5), (7, 5), (12, 1), (12, 9)])
async def test_a_prompt_that_many_arms_answered_is_recalled_with_all_its_outcomes(
    memory: Memory, n_arms: int, limit: int
) -> None:
    cosines = [0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    arms = [f"arm-{i:02}" for i in range(n_arms)]
    await memory.remember(make_prompts(cosines, arms))

    for _ in range(2):  # a memory may have learned how many points that takes
        neighbours = await recall_east(memory, limit=limit)

        nearest = [(number, cosine, arm) for number, cosine in enumerate(cosines[:limit]) for arm in arms]
        assert shown(neighbours) == nearest
        assert [one.prompt for one in neighbours] == sorted(one.prompt or 0 for one in neighbours)


async def test_contexts_of_one_similarity_are_different_prompts(memory: Memory) -> None:
    east_of = [np.eye(DIMENSION, dtype=np.float32)[i] * np.float32(0.8) for i in range(1, 5)]
    contexts = [side + EAST * np.float32(0.6) for side in east_of]
    await memory.remember(
        [make_experience(context=context, arm_id=arm) for context in contexts for arm in ("a", "b", "c")]
    )

    neighbours = await recall_east(memory, limit=3)

    assert len(neighbours) == 9
    assert {one.similarity for one in neighbours} == {neighbours[0].similarity}
    assert [one.prompt for one in neighbours] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert [sorted(one.arm_id for one in neighbours if one.prompt == number) for number in range(3)] == [
        ["a", "b", "c"]
    ] * 3


async def test_a_prompt_that_an_arm_answered_again_counts_again_newest_first(memory: Memory) -> None:
    often = make_series(CAP, arm_id="often")
    twice = make_series(2, arm_id="twice")
    await memory.remember([*twice, *often, make_experience(context=towards_east(0.5))])

    few, many = await recall_east(memory, limit=4), await recall_east(memory, limit=CAP + 1)

    newest = [(0, often[-1]), (0, twice[-1]), (1, often[-2]), (1, twice[-2]), (2, often[-3]), (3, often[-4])]
    assert {(one.prompt, one.decision_id) for one in few} == {(n, e.decision_id) for n, e in newest}
    assert len(many) == CAP + 3
    assert (many[-1].prompt, round(many[-1].similarity, 3)) == (CAP, 0.5)


async def test_outcomes_that_do_not_match_are_no_part_of_a_prompt_and_take_no_place(memory: Memory) -> None:
    since = NOW - timedelta(days=3)
    long_ago = since - timedelta(days=1)
    await memory.remember(
        [
            *make_prompts([0.9, 0.5], ["a", "b"], task="sort"),
            *make_prompts([0.9, 0.8], ["c", "d"], task="chat"),
            *make_prompts([0.9, 0.8], ["e", "f"], task="sort", tenant="other"),
            *make_prompts([0.9, 0.8], ["g", "h"], task="sort", decided_at=long_ago),
            *make_prompts([-0.1], ["a"], task="sort"),
        ]
    )

    neighbours = await recall_east(memory, limit=5, task="sort", since=since, min_similarity=0.0)

    assert shown(neighbours) == [(0, 0.9, "a"), (0, 0.9, "b"), (1, 0.5, "a"), (1, 0.5, "b")]


async def test_arms_that_answered_the_same_prompts_at_one_time_keep_the_same_ones(memory: Memory) -> None:
    contexts = np.random.default_rng(1).normal(size=(CAP + 9, DIMENSION)).astype(np.float32)
    contexts /= np.linalg.norm(contexts, axis=1, keepdims=True)
    arms = ["a", "b", "c", "d"]
    await memory.remember(
        [make_experience(context=c, arm_id=arm, decided_at=NOW) for c in contexts for arm in arms]
    )

    await memory.prune()

    arms_of = Counter([one.context.tobytes() async for one in memory.all()])
    assert sorted(arms_of.values()) == [len(arms)] * CAP


async def test_with_a_task_the_nearest_of_that_task_are_recalled(memory: Memory) -> None:
    tasks = {0.9: "chat", 0.8: "sort", 0.7: None, 0.3: "sort", 0.2: "sort", 0.1: "chat"}
    await memory.remember([make_experience(context=towards_east(c), task=task) for c, task in tasks.items()])

    neighbours = await recall_east(memory, limit=2, task="sort")

    assert [(round(one.similarity, 3), one.task) for one in neighbours] == [(0.8, "sort"), (0.3, "sort")]
    assert await recall_east(memory, task="new") == []


async def test_a_task_does_not_widen_tenant_time_or_similarity(memory: Memory) -> None:
    since = NOW - timedelta(days=3)
    await memory.remember(
        [
            make_experience(task="sort", tenant="other"),
            make_experience(task="sort", decided_at=since - timedelta(days=1)),
            make_experience(task="sort", context=towards_east(0.1)),
        ]
    )

    assert await recall_east(memory, task="sort", since=since, min_similarity=0.5) == []


async def test_the_same_decision_is_replaced_not_added(memory: Memory) -> None:
    first = make_experience(reward=0.0)
    revised = make_experience(decision_id=first.decision_id, reward=1.0, context=towards_east(0.5))
    await memory.remember([first])

    await memory.remember([revised])

    (neighbour,) = await recall_east(memory)
    assert neighbour.reward == 1.0
    assert neighbour.similarity == pytest.approx(0.5, abs=1e-6)
    assert await memory.count() == 1


async def test_the_later_of_two_versions_in_one_write_wins(memory: Memory) -> None:
    first = make_experience(reward=0.0)
    revised = make_experience(decision_id=first.decision_id, reward=1.0)

    await memory.remember([first, revised])

    assert [one.reward for one in await recall_east(memory)] == [1.0]


async def test_forgotten_decisions_are_gone_and_unknown_ones_ignored(memory: Memory) -> None:
    kept, dropped = make_experience(), make_experience()
    await memory.remember([kept, dropped])

    await memory.forget([dropped.decision_id, uuid4()])

    assert await ids_of(memory) == {kept.decision_id}
    assert [one.decision_id for one in await recall_east(memory)] == [kept.decision_id]


async def test_nothing_to_remember_or_forget_is_fine(memory: Memory) -> None:
    await memory.remember([])
    await memory.forget([])

    assert await memory.count() == 0


async def test_clear_removes_all_points_and_the_memory_stays_usable(memory: Memory) -> None:
    await memory.remember(make_series(3))

    await memory.clear()

    assert await memory.count() == 0
    await memory.remember([make_experience()])
    assert len(await recall_east(memory)) == 1


@pytest.mark.parametrize("text", ["", "ünï😀", "a/b:c?d*", "nul\0newline\n", '"quoted" \\', "x" * 1_000])
async def test_any_text_is_valid_as_arm_request_and_tenant(memory: Memory, text: str) -> None:
    experience = make_experience(arm_id=text, request_id=text, tenant=text)

    await memory.remember([experience])
    await memory.prune()

    (neighbour,) = await recall_east(memory, tenant=text)
    assert (neighbour.arm_id, neighbour.request_id) == (text, text)
    assert [comparable(one) async for one in memory.all()] == [comparable(experience)]


async def test_prune_keeps_exactly_the_newest_of_every_arm_and_tenant(memory: Memory) -> None:
    many = make_series(CAP + 7)
    other_arm = make_series(CAP, arm_id="other")
    other_tenant = make_series(3, tenant="other", arm_id=many[0].arm_id)
    await memory.remember([*many, *other_arm, *other_tenant])

    await memory.prune()

    kept = [*many[-CAP:], *other_arm, *other_tenant]
    assert await ids_of(memory) == {experience.decision_id for experience in kept}


async def test_prune_removes_the_lower_id_first_among_decisions_of_one_moment(memory: Memory) -> None:
    older, *tied = make_series(1) + [make_experience(decided_at=NOW) for _ in range(CAP + 5)]
    await memory.remember([older, *tied])

    await memory.prune()

    highest = sorted(experience.decision_id for experience in tied)[-CAP:]
    assert await ids_of(memory) == set(highest)


async def test_continued_writing_exceeds_the_cap_by_at_most_a_tenth(memory: Memory) -> None:
    experiences = make_series(2 * CAP)

    counts = []
    for experience in experiences:
        await memory.remember([experience])
        counts.append(await memory.count())

    assert CAP <= max(counts) <= CAP * 1.1
    assert experiences[-1].decision_id in await ids_of(memory)


async def test_vectors_of_another_encoder_are_rejected(memory: Memory) -> None:
    with pytest.raises(ValueError, match="encoder must be"):
        await memory.remember([make_experience(encoder="another")])

    assert await memory.count() == 0


async def test_a_closed_memory_is_unavailable_and_closing_again_is_harmless(memory: Memory) -> None:
    await memory.close()
    await memory.close()

    with pytest.raises(MemoryUnavailable):
        await recall_east(memory)


def test_points_older_than_prompts_are_prompts_of_their_own() -> None:
    experiences = [make_experience(arm_id=arm) for arm in ("a", "b", "c")]
    payloads = [to_payload(experience) for experience in experiences]
    old = {name: value for name, value in payloads[0].items() if name != "context"}
    found = [
        Found(experience.decision_id, payload, 1.0)
        for experience, payload in zip(experiences, [old, *payloads[1:]], strict=True)
    ]

    assert [(one.arm_id, one.prompt) for one in to_neighbours(found, now=NOW)] == [
        ("a", 0),
        ("b", 1),
        ("c", 1),
    ]


def test_a_point_older_than_tasks_has_no_task() -> None:
    experience = make_experience(task="sort")
    old = {name: value for name, value in to_payload(experience).items() if name != "task"}

    assert to_experience(experience.decision_id, old, EAST, encoder=ENCODER).task is None
    assert [one.task for one in to_neighbours([Found(experience.decision_id, old, 1.0)], now=NOW)] == [None]


def test_replicas_of_earlier_versions_read_a_number_for_an_unknown_cost() -> None:
    assert float(to_payload(make_experience(cost_usd=None))["cost_usd"]) == 0.0


# --- the embedded engine ----------------------------------------------------------------------------------


async def test_the_embedded_memory_keeps_everything_over_a_restart(tmp_path: Path) -> None:
    experiences = make_series(5)
    memory = await open_edge(tmp_path)
    await memory.remember(experiences)
    await memory.forget([experiences[0].decision_id])
    await memory.close()

    memory = await open_edge(tmp_path)

    assert {comparable(one) async for one in memory.all()} == {comparable(one) for one in experiences[1:]}
    assert len(await recall_east(memory)) == 4
    await memory.close()


async def test_outcomes_before_and_after_a_restart_are_of_one_prompt(tmp_path: Path) -> None:
    contexts = normalise(np.random.default_rng(2).normal(size=(9, DIMENSION)).astype(np.float32))
    for arm in ("a", "b"):
        memory = await open_edge(tmp_path)
        await memory.remember([make_experience(context=context, arm_id=arm) for context in contexts])
        await memory.close()

    memory = await open_edge(tmp_path)

    assert Counter(one.prompt for one in await recall_east(memory)) == Counter(list(range(9)) * 2)
    await memory.close()


WRITER = """
import asyncio, sys
from pathlib import Path
from tests.integration.memory.test_memory import make_series, open_edge

async def main():
    memory = await open_edge(Path(sys.argv[1]))
    for experience in make_series(int(sys.argv[2])):
        await memory.remember([experience])
        print(experience.decision_id, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_the_embedded_memory_loses_nothing_remembered_when_it_is_killed(tmp_path: Path) -> None:
    remembered = write_and_be_killed(tmp_path, n_points=10)

    memory = await open_edge(tmp_path)

    assert await ids_of(memory) == remembered
    await memory.close()


def write_and_be_killed(directory: Path, *, n_points: int) -> set[UUID]:
    """Remember in another process, kill it, and return what `remember` had confirmed."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(directory), str(n_points)],
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout is not None
        remembered = {UUID(writer.stdout.readline().strip()) for _ in range(n_points)}
        writer.kill()
    return remembered


async def test_only_one_process_at_a_time_opens_the_embedded_memory(tmp_path: Path) -> None:
    holder = await open_edge(tmp_path)

    with pytest.raises(StartupError, match="another process uses the memory in"):
        await open_edge(tmp_path)

    await holder.close()
    successor = await open_edge(tmp_path)
    await successor.close()


@pytest.mark.parametrize("damaged", ["segments/*/segment.json", "**/tracker.dat"])
async def test_a_damaged_embedded_memory_is_set_aside_and_begins_empty(tmp_path: Path, damaged: str) -> None:
    memory = await open_edge(tmp_path)
    assert memory.set_aside is None
    await memory.remember(make_series(3))
    await memory.close()
    damage(tmp_path, damaged)

    memory = await open_edge(tmp_path)

    assert await memory.count() == 0
    assert memory.set_aside is not None
    assert memory.set_aside.name.endswith(".damaged")
    await memory.remember(make_series(2))
    await memory.close()
    again = await open_edge(tmp_path)
    assert (await again.count(), again.set_aside) == (2, None)
    await again.close()


async def test_a_memory_that_can_not_be_set_aside_stops_the_start_with_a_reason(tmp_path: Path) -> None:
    memory = await open_edge(tmp_path)
    await memory.remember(make_series(3))
    await memory.close()
    damage(tmp_path, "segments/*/segment.json")
    (folder,) = tmp_path.iterdir()  # noqa: ASYNC240
    folder.with_name(f"{folder.name}.damaged").write_text("in the way")

    with pytest.raises(StartupError, match="cannot be used"):
        await open_edge(tmp_path)


def damage(directory: Path, pattern: str) -> None:
    for file in directory.glob(f"*/{pattern}"):
        file.write_bytes(
            b"\xff" * max(64, file.stat().st_size)
        )  # the engine panics at some, and fails at others


async def test_each_encoder_has_an_embedded_memory_of_its_own(tmp_path: Path) -> None:
    one = await open_edge(tmp_path, encoder="a/b")
    other = await open_edge(tmp_path, encoder="a-b")

    await one.remember([make_experience(encoder="a/b")])

    assert (await one.count(), await other.count()) == (1, 0)
    await one.close()
    await other.close()


async def test_the_embedded_memory_recalls_while_it_is_written_to(tmp_path: Path) -> None:
    memory = await open_edge(tmp_path, cap=1_000)
    batches = [make_series(100) for _ in range(10)]

    writes = [memory.remember(batch) for batch in batches]
    reads = [recall_east(memory) for _ in batches]
    await asyncio.gather(*writes, *reads)

    assert await memory.count() == 1_000
    await memory.close()


async def test_continued_writing_at_the_cap_takes_no_more_space(tmp_path: Path) -> None:
    dimension = 256
    memory = await EdgeMemory.open(tmp_path, encoder=ENCODER, dimension=dimension, max_points_per_arm=500)
    context = np.full(dimension, 1 / 16, dtype=np.float32)
    await remember_series(memory, context, n_series=11)
    room = room_of_points(tmp_path)

    await remember_series(memory, context, n_series=33)

    assert room_of_points(tmp_path) <= 1.5 * room
    assert await memory.count() == 500
    await memory.close()


async def remember_series(memory: Memory, context: Vector, *, n_series: int) -> None:
    for _ in range(n_series):
        await memory.remember(make_series(500, context=context))


def room_of_points(directory: Path) -> int:
    """The bytes that segment files use on disk; the engine reserves more."""
    return sum(512 * path.stat().st_blocks for path in directory.glob("*/segments/**/*"))


# --- a server -------------------------------------------------------------------------------------------


async def test_a_killed_server_is_unavailable_until_it_returns(qdrant_server: QdrantServer) -> None:
    memory = await open_qdrant(qdrant_server.url)
    experiences = make_series(3)
    await memory.remember(experiences)

    qdrant_server.kill()
    with pytest.raises(MemoryUnavailable):
        await recall_east(memory)
    with pytest.raises(MemoryUnavailable):
        await memory.remember(experiences)
    qdrant_server.start()

    await until_available(memory)
    assert await ids_of(memory) == {experience.decision_id for experience in experiences}
    await memory.close()


async def test_the_server_may_start_after_the_router(qdrant_server: QdrantServer) -> None:
    qdrant_server.kill()
    memory = await open_qdrant(qdrant_server.url)
    with pytest.raises(MemoryUnavailable):
        await memory.ping()

    qdrant_server.start()
    await until_available(memory)

    await memory.remember(make_series(3))
    assert len(await recall_east(memory)) == 3
    await memory.close()


async def test_a_call_to_a_server_that_never_answers_fails_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        memory = await open_qdrant(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.1)

        with pytest.raises(MemoryUnavailable, match=r"within 0\.1 s"):
            await recall_east(memory)

        await memory.close()


async def test_a_lost_collection_is_created_again(qdrant_url: str) -> None:
    memory = await open_qdrant(qdrant_url, encoder="lost")
    await drop_collections(qdrant_url, "router_lost")
    with pytest.raises(MemoryUnavailable, match="NOT_FOUND"):
        await memory.count()

    await memory.remember([make_experience(encoder="lost")])

    assert await memory.count() == 1
    await memory.close()


async def test_a_prompt_with_too_many_outcomes_for_a_search_leaves_a_recall_within_its_bound(
    qdrant_url: str,
) -> None:
    memory = await open_qdrant(qdrant_url, encoder="crowded", cap=1_000)
    answered = make_prompts([0.9], [f"arm-{i}" for i in range(5 * MOST_POINTS_PER_PROMPT)], encoder="crowded")
    await memory.remember([*answered, *make_prompts([0.8, 0.7], ["a", "b"], encoder="crowded")])

    for _ in range(2):
        assert len(await recall_east(memory, limit=2)) == 2 * MOST_POINTS_PER_PROMPT
        assert len(await recall_east(memory, limit=6)) == len(answered) + 4
    await memory.close()


async def test_replicas_may_create_the_collection_at_once(qdrant_url: str) -> None:
    async with AsyncExitStack() as stack:
        replicas = await asyncio.gather(*(open_qdrant(qdrant_url, encoder="raced") for _ in range(4)))
        for replica in replicas:
            stack.push_async_callback(replica.close)

        await asyncio.gather(*(replica.remember([make_experience(encoder="raced")]) for replica in replicas))

        assert [await replica.count() for replica in replicas] == [4, 4, 4, 4]


async def test_replicas_pruning_at_once_keep_the_newest(qdrant_url: str) -> None:
    async with AsyncExitStack() as stack:
        generous = await open_qdrant(qdrant_url, encoder="pruned", cap=1_000)
        replicas = [await open_qdrant(qdrant_url, encoder="pruned") for _ in range(3)]
        for replica in (generous, *replicas):
            stack.push_async_callback(replica.close)
        experiences = make_series(CAP + 30, encoder="pruned")
        await generous.remember(experiences)

        await asyncio.gather(*(replica.prune() for replica in replicas))

        kept = await ids_of(generous)
        assert experiences[-1].decision_id in kept
        assert kept <= {experience.decision_id for experience in experiences[-CAP:]}


@pytest.mark.parametrize("url", ["", "localhost:6333", "ftp://localhost", "http://"])
async def test_an_invalid_url_stops_the_start(url: str) -> None:
    with pytest.raises(StartupError, match="QDRANT_URL must look like"):
        await open_qdrant(url)


async def until_available(memory: Memory) -> None:
    """Call until the channel has reconnected to the server."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await memory.ping()
            except MemoryUnavailable:
                await asyncio.sleep(0.02)


async def drop_collections(url: str, prefix: str) -> None:
    client = AsyncQdrantClient(
        host="127.0.0.1", grpc_port=int(url.rpartition(":")[2]), prefer_grpc=True, check_compatibility=False
    )
    for collection in (await client.get_collections()).collections:
        if collection.name.startswith(prefix):
            await client.delete_collection(collection.name)
    await client.close()
