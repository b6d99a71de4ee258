"""The index of the memory in this process. Its contract is in `tests/integration/memory/test_memory.py`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import orjson
import pytest

from service.domain.basics import Vector
from service.domain.feedback import Experience
from service.domain.neighbours import NeighbourColumns, NeighbourQuery
from service.memory.index import Index
from tests.fakes_memory import FakeMemory

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
DIMENSION = 100  # no multiple of 64
TASKS = (None, "chat", "sort")

Contexts = npt.NDArray[np.float32]


def topics(n: int, rng: np.random.Generator, dimension: int = DIMENSION) -> Contexts:
    """Contexts of requests that cluster around forty topics, as real ones do."""
    about = rng.normal(size=(40, dimension))[rng.integers(40, size=n)]
    contexts = about + 1.5 * rng.normal(size=(n, dimension))
    return np.asarray(contexts / np.linalg.norm(contexts, axis=1, keepdims=True), dtype=np.float32)


def experience(number: int, context: Vector, **changes: Any) -> Experience:
    fields: dict[str, Any] = {
        "decision_id": UUID(int=number),
        "tenant": ("acme", "other")[number % 2],
        "request_id": f"r-{number}",
        "arm_id": f"arm-{number % 3}",
        "encoder": "fake",
        "context": context,
        "reward": number % 7 / 7,
        "weight": 1.0,
        "latency_s": number / 10,
        "cost_usd": number / 1000,
        "decided_at": NOW - timedelta(hours=number),
        "task": TASKS[number % 3],
    }
    return Experience(**(fields | changes))


def query_for(context: Vector, **changes: Any) -> NeighbourQuery:
    since = NOW - timedelta(days=4)
    query = NeighbourQuery(context, tenant="acme", limit=20, min_similarity=0.0, since=since, now=NOW)
    return replace(query, **changes)


def recall(index: Index, context: Vector, **changes: Any) -> NeighbourColumns:
    return index.recall(query_for(context, **changes))


@pytest.mark.parametrize("task", TASKS)
async def test_after_any_writes_recall_equals_a_plain_search(task: str | None) -> None:
    rng = np.random.default_rng(0)
    index, plain = Index(DIMENSION), FakeMemory()
    for _ in range(40):
        written = [
            experience(int(i), context)
            for i, context in zip(rng.integers(200, size=20), topics(20, rng), strict=True)
        ]
        dropped = [UUID(int=int(i)) for i in rng.integers(200, size=12)]
        index.put(written)
        await plain.remember(written)
        index.drop(dropped)
        await plain.forget(dropped)

        [context] = topics(1, rng)
        found = list(index.recall(query_for(context, task=task)))
        expected = list(await plain.recall(query_for(context, task=task)))

        assert [n.decision_id for n in found] == [n.decision_id for n in expected]
        assert [n.similarity for n in found] == pytest.approx([n.similarity for n in expected], abs=1e-6)
        assert [(n.arm_id, n.reward, n.age_s, n.task) for n in found] == [
            (n.arm_id, n.reward, n.age_s, n.task) for n in expected
        ]


@pytest.fixture
def switching_threads() -> Iterator[None]:
    """Threads that switch as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("switching_threads")
def test_neighbours_found_during_writes_are_consistent() -> None:
    rng = np.random.default_rng(6)
    contexts = topics(200, rng)
    written = {f"r-{i}": experience(i, context, tenant="acme") for i, context in enumerate(contexts)}
    index = Index(DIMENSION)
    index.put(written.values())

    def write() -> None:
        for i in rng.integers(200, size=20_000):
            index.drop([UUID(int=int(i))])
            index.put([written[f"r-{(i + 1) % 200}"]])

    with ThreadPoolExecutor(1) as writer:
        writing = writer.submit(write)
        while not writing.done():
            for found in recall(index, contexts[0], limit=200, min_similarity=-1.0):
                put = written[found.request_id]
                assert (found.decision_id, found.arm_id) == (put.decision_id, put.arm_id)
                assert (found.reward, found.latency_s) == (put.reward, put.latency_s)
                assert found.similarity == pytest.approx(float(put.context @ contexts[0]), abs=1e-6)
        writing.result()


def test_recall_among_thousands_finds_nearly_all_of_the_nearest() -> None:
    rng = np.random.default_rng(1)
    contexts = topics(8_000, rng, dimension=384)
    index = Index(384)
    index.put(
        experience(i, context, tenant="acme", decided_at=NOW) for i, context in enumerate(contexts[:7_900])
    )

    shares = []
    for context in contexts[7_900:]:
        found = recall(index, context, limit=100, min_similarity=-1.0)
        nearest = np.sort(contexts[:7_900] @ context)[-100:]
        shares.append(float(found.similarity.sum() / nearest.sum()))

    assert np.mean(shares) > 0.97
    assert min(shares) > 0.9


def test_recall_among_thousands_of_prompts_finds_every_outcome_of_each() -> None:
    rng = np.random.default_rng(7)
    n_prompts, n_arms = 1_500, 8
    contexts = topics(n_prompts + 20, rng, dimension=384)
    index = Index(384)
    index.put(
        experience(i, contexts[i % n_prompts], tenant="acme", arm_id=f"arm-{i // n_prompts}", decided_at=NOW)
        for i in rng.permutation(n_prompts * n_arms).tolist()
    )

    for context in contexts[n_prompts:]:
        found = recall(index, context, limit=100, min_similarity=-1.0)

        nearest = np.sort(contexts[:n_prompts] @ context)[-100:]
        assert found.prompt.tolist() == np.repeat(np.arange(100), n_arms).tolist()
        assert len({(prompt, arm) for prompt, arm in zip(found.prompt, found.arm, strict=True)}) == len(found)
        assert found.similarity[::n_arms].sum() > 0.97 * nearest.sum()


async def test_after_any_writes_on_few_contexts_recall_equals_a_plain_search() -> None:
    rng = np.random.default_rng(8)
    index, plain = Index(DIMENSION), FakeMemory()
    contexts = topics(9, rng)
    for _ in range(60):
        written = [experience(int(i), contexts[i % 9 - rng.integers(2)]) for i in rng.integers(300, size=20)]
        dropped = [UUID(int=int(i)) for i in rng.integers(300, size=15)]
        index.put(written)
        await plain.remember(written)
        index.drop(dropped)
        await plain.forget(dropped)

        query = query_for(topics(1, rng)[0], limit=int(rng.integers(1, 12)), min_similarity=-1.0)
        found, expected = index.recall(query), await plain.recall(query)

        assert {(n.prompt, n.decision_id) for n in found} == {(n.prompt, n.decision_id) for n in expected}
        assert found.prompt.tolist() == expected.prompt.tolist()


def test_points_that_do_not_match_take_no_place_among_thousands() -> None:
    rng = np.random.default_rng(2)
    contexts = topics(3_000, rng, dimension=384)
    index = Index(384)
    index.put(
        experience(i, context, tenant="acme", decided_at=NOW - timedelta(days=5 * (i % 4 > 0)))
        for i, context in enumerate(contexts)
    )

    found = recall(index, contexts[0], limit=100, min_similarity=-1.0)

    recent = contexts[::4]
    exact = np.sort(recent @ contexts[0])[-100:]
    assert len(found) == 100
    assert found.age_s.max() == 0.0
    assert found.similarity.sum() > 0.97 * exact.sum()


def test_a_decision_written_under_another_tenant_leaves_the_first() -> None:
    context = topics(1, np.random.default_rng(3))[0]
    index = Index(DIMENSION)
    index.put([experience(0, context, tenant="acme")])

    index.put([experience(0, context, tenant="other")])

    assert len(recall(index, context)) == 0
    assert [n.request_id for n in recall(index, context, tenant="other")] == ["r-0"]


class DriversOwnUUID(UUID):
    """A subclass, as PostgreSQL's driver has one."""


def test_neighbours_have_plain_ids_that_orjson_serialises() -> None:
    context = topics(1, np.random.default_rng(5))[0]
    index = Index(DIMENSION)
    index.put([experience(0, context, decision_id=DriversOwnUUID(int=7))])

    [neighbour] = recall(index, context)

    assert orjson.loads(orjson.dumps(neighbour))["decision_id"] == str(UUID(int=7))
    index.drop([UUID(int=7)])
    assert len(recall(index, context)) == 0


def test_neighbours_survive_the_conversion_to_columns() -> None:
    index = Index(DIMENSION)
    contexts = topics(30, np.random.default_rng(4))
    index.put(experience(i, context, tenant="acme") for i, context in enumerate(contexts))
    near = recall(index, contexts[0])

    again = NeighbourColumns.of(list(near))

    assert list(again) == list(near)
    assert again.keys.tolist() == near.keys.tolist()
    assert [again.arm_ids[arm] for arm in again.arm] == [n.arm_id for n in near]
    assert next(iter(near)) in again
