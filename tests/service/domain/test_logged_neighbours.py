"""Neighbours in the log: columns that give back every bit, and rows of earlier versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

import numpy as np
import orjson
import pytest
from hypothesis import given

from service.domain.decision import Neighbour
from service.domain.logged_neighbours import logged_neighbours, recalled_neighbours
from service.domain.neighbours import NeighbourColumns
from tests.bandit.worlds import seeds


def neighbours(n_outcomes: Sequence[int], rng: np.random.Generator) -> list[Neighbour]:
    """Outcomes of prompts, each with numbers of full length."""
    found = []
    for prompt, n in enumerate(n_outcomes):
        similarity = float(np.float32(rng.uniform(-1, 1)))
        for arm in range(n):
            found.append(
                Neighbour(
                    decision_id=UUID(bytes=rng.bytes(16)),
                    request_id=f"import-{rng.bytes(20).hex()}",
                    arm_id=f"vendor/model-{arm}",
                    similarity=similarity,
                    age_s=float(rng.integers(10**12)) / 1e6,
                    reward=float(rng.integers(2)),
                    weight=float(rng.choice([1.0, 1 / 3])),
                    latency_s=round(float(rng.uniform(0, 9)), 6),
                    cost_usd=None if rng.uniform() < 0.2 else round(float(rng.uniform(0, 0.01)), 9),
                    task=(None, "chat", "sort")[rng.integers(3)],
                    prompt=prompt,
                )
            )
    return found


def through_json(data: dict[str, Any]) -> dict[str, Any]:
    loaded: dict[str, Any] = orjson.loads(orjson.dumps(data))
    return loaded


@given(seeds)
def test_the_log_gives_back_every_neighbour_and_its_ease(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_outcomes = rng.integers(1, 6, size=rng.integers(0, 9)).tolist()
    near = neighbours(n_outcomes, rng)
    ease = np.repeat(rng.normal(size=len(n_outcomes)), n_outcomes).tolist()

    for given_as in (near, tuple(near), NeighbourColumns.of(near)):
        found, found_ease = recalled_neighbours(through_json(logged_neighbours(given_as, ease)))

        assert list(found) == near
        assert list(found_ease) == ease
        assert found.keys.tolist() == NeighbourColumns.of(near).keys.tolist()


def test_neighbours_without_ease_have_none_in_the_log() -> None:
    near = neighbours([2, 1], np.random.default_rng(0))

    found, ease = recalled_neighbours(through_json(logged_neighbours(near, ())))

    assert (list(found), ease) == (near, ())


def test_rows_of_earlier_versions_are_prompts_of_their_own() -> None:
    near = neighbours([1, 1, 1], np.random.default_rng(1))
    rows = [{key: value for key, value in asdict(one).items() if key != "prompt"} for one in near]
    without_tasks = [{key: value for key, value in row.items() if key != "task"} for row in rows]

    found, ease = recalled_neighbours(through_json({"neighbours": rows, "neighbour_ease": [0.1, 0.2, 0.3]}))
    older, no_ease = recalled_neighbours(through_json({"neighbours": without_tasks}))

    assert (list(found), ease) == (near, (0.1, 0.2, 0.3))
    assert [(one.prompt, one.task) for one in older] == [(0, None), (1, None), (2, None)]
    assert no_ease == ()


@pytest.mark.parametrize(("n_arms", "most_bytes"), [(1, 18_000), (12, 170_000)])
def test_a_hundred_prompts_stay_small_however_many_arms_answered_them(n_arms: int, most_bytes: int) -> None:
    rng = np.random.default_rng(2)
    near = neighbours([n_arms] * 100, rng)
    ease = np.repeat(rng.normal(size=100), n_arms).tolist()

    logged = orjson.dumps(logged_neighbours(near, ease))

    assert len(logged) < most_bytes
    assert len(logged) < 0.6 * len(orjson.dumps({"neighbours": near, "neighbour_ease": ease}))


@pytest.mark.parametrize(("n", "k"), [(0, 0), (1, 3), (2, 4), (3, 9), (4, 9)])
def test_the_neighbours_of_the_nearest_prompts_are_whole(n: int, k: int) -> None:
    near = neighbours([3, 1, 5], np.random.default_rng(3))

    assert list(NeighbourColumns.of(near).of_prompts(n)) == near[:k]
    assert NeighbourColumns.of(near).n_prompts == 3
    assert NeighbourColumns.of([]).n_prompts == 0
