"""The neighbours of a decision as the log keeps them: columns, with what a prompt's outcomes share kept once.

    {"neighbours": [], "neighbour_ease": [],
     "recalled": {"n_outcomes": [2, ...], "similarity": [.9, ...], "ease": [.1, ...],       of each prompt
                  "arm_ids": ["small", "large"], "tasks": [null], "decision_ids": "...",
                  "arm": [0, 1, ...], "task": [0, 0, ...], "request_id": ["r-1", "r-2", ...], "age_s": ...}}

Objects would take twice as much: a hundred prompts that ten arms answered have a thousand outcomes. Versions
up to 0.3 logged one object per neighbour under `neighbours`, each of a prompt of its own.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Collection, Sequence
from uuid import UUID

import numpy as np

from service.domain.basics import Json
from service.domain.decision import Neighbour
from service.domain.neighbours import NeighbourColumns, Point, key_of
from service.domain.packed_explanation import RecalledNeighbours

_NUMBERS = ("age_s", "reward", "weight", "latency_s", "cost_usd")
_ID_BYTES = 16


def logged_neighbours(neighbours: Collection[Neighbour], ease: Sequence[float]) -> Json:
    """The keys of a logged explanation that keep the neighbours and the ease of their requests."""
    columns = NeighbourColumns.of(neighbours)
    firsts, n_outcomes = np.unique(columns.prompt, return_index=True, return_counts=True)[1:]
    tasks = {point.task: None for point in columns.points}
    number_of = {task: number for number, task in enumerate(tasks)}
    ids = b"".join(point.decision_id.bytes for point in columns.points)
    return {
        "neighbours": [],
        "neighbour_ease": [],
        "recalled": {
            "n_outcomes": n_outcomes.tolist(),
            "similarity": columns.similarity[firsts].tolist(),
            "ease": [ease[first] for first in firsts.tolist()] if ease else [],
            "arm_ids": columns.arm_ids,
            "tasks": list(tasks),
            "decision_ids": b64encode(ids).decode("ascii"),
            "arm": columns.arm.tolist(),
            "task": [number_of[point.task] for point in columns.points],
            "request_id": [point.request_id for point in columns.points],
            **{name: getattr(columns, name).tolist() for name in _NUMBERS},
        },
    }


def recalled_neighbours(logged: Json) -> tuple[NeighbourColumns, tuple[float, ...]]:
    """The neighbours of an explanation that any version logged, and the ease of their requests.

    The ease is empty if it was not logged.
    """
    recalled = logged.get("recalled")
    if isinstance(recalled, RecalledNeighbours):
        return recalled.columns, recalled.ease
    if recalled is None:
        columns = NeighbourColumns.of(map(_neighbour, logged["neighbours"]))
        return columns, tuple(logged.get("neighbour_ease") or ())
    prompt = np.repeat(np.arange(len(recalled["n_outcomes"])), recalled["n_outcomes"])
    ids = b64decode(recalled["decision_ids"])
    decision_ids = [UUID(bytes=ids[at : at + _ID_BYTES]) for at in range(0, len(ids), _ID_BYTES)]
    tasks = [recalled["tasks"][number] for number in recalled["task"]]
    columns = NeighbourColumns(
        points=tuple(map(Point, decision_ids, recalled["request_id"], tasks)),
        keys=np.array([key_of(decision_id) for decision_id in decision_ids], dtype=np.int64),
        arm_ids=tuple(recalled["arm_ids"]),
        arm=np.array(recalled["arm"], dtype=np.int64),
        prompt=prompt,
        similarity=np.array(recalled["similarity"], dtype=np.float64)[prompt],
        age_s=np.array(recalled["age_s"], dtype=np.float64),
        reward=np.array(recalled["reward"], dtype=np.float64),
        weight=np.array(recalled["weight"], dtype=np.float64),
        latency_s=np.array(recalled["latency_s"], dtype=np.float64),
        cost_usd=np.array(recalled["cost_usd"], dtype=np.float64),
    )
    return columns, tuple(
        [recalled["ease"][number] for number in prompt.tolist()] if recalled["ease"] else ()
    )


def _neighbour(logged: Json) -> Neighbour:
    return Neighbour(**{**logged, "decision_id": UUID(logged["decision_id"])})
