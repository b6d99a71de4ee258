"""The points of one vector space as rows in this process, for recall of the nearest prompts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt

from service.domain.basics import Vector
from service.domain.feedback import Experience
from service.domain.neighbours import NO_NEIGHBOURS, NeighbourColumns, NeighbourQuery, Point, key_of
from service.memory.contexts import Contexts, twice
from service.memory.points import MICROS_PER_S, require_dimension, to_micros
from service.memory.prompts import by_prompt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
FACTS = np.dtype(
    [
        ("key", "i8"),
        ("arm", "i8"),
        ("reward", "f8"),
        ("weight", "f8"),
        ("latency_s", "f8"),
        ("cost_usd", "f8"),
    ]
)
INITIAL_CAPACITY = 64  # rows; doubled when they are full


class Index:
    """The searchable points. Each tenant has arrays of its own, so a search sees no other tenant's points.

    A lock serialises writes and searches, which may run on different threads.
    """

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._rows: dict[str, Rows] = {}  # by tenant
        self._tenants: dict[UUID, str] = {}
        self._lock = Lock()

    def recall(self, query: NeighbourQuery) -> NeighbourColumns:
        require_dimension(query.context, self._dimension)
        with self._lock:
            rows = self._rows.get(query.tenant)
            return NO_NEIGHBOURS if rows is None else rows.nearest(query)

    def put(self, experiences: Iterable[Experience]) -> None:
        """Add or replace. Each experience takes the lock separately; a search waits for one at most."""
        for experience in experiences:
            with self._lock:
                self._drop(experience.decision_id)
                self._tenants[experience.decision_id] = experience.tenant
                if experience.tenant not in self._rows:
                    self._rows[experience.tenant] = Rows(self._dimension)
                self._rows[experience.tenant].append(experience)

    def drop(self, decision_ids: Iterable[UUID]) -> None:
        """Remove; unknown ids are ignored."""
        for decision_id in decision_ids:
            with self._lock:
                self._drop(decision_id)

    def clear(self) -> None:
        with self._lock:
            self._rows.clear()
            self._tenants.clear()

    def _drop(self, decision_id: UUID) -> None:
        tenant = self._tenants.pop(decision_id, None)
        if tenant is None:
            return
        self._rows[tenant].drop(decision_id)
        if not self._rows[tenant].points:
            del self._rows[tenant]


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """What searches need to know of all points of a tenant, until one is added or dropped.

    Args:
        oldest: time of the oldest decision, microseconds.
        row_of_slot: the point that has each context; None: some points share one.
    """

    oldest: int
    row_of_slot: Ints | None


class Rows:
    """The points of one tenant, in no order.

    Tasks are compared by hash: 64 bits, salted in each process. If two of a tenant's tasks ever shared a
    hash, each would also recall the other's neighbours, as a request without a task does.
    """

    def __init__(self, dimension: int) -> None:
        self.points: list[Point] = []
        self._row_of: dict[UUID, int] = {}
        self._arms: dict[str, int] = {}  # the index of each arm
        self._contexts = Contexts(dimension)
        self._slots = np.empty(INITIAL_CAPACITY, dtype=np.int64)  # of each point's context
        self._facts = np.empty(INITIAL_CAPACITY, dtype=FACTS)
        self._decided_at = np.empty(INITIAL_CAPACITY, dtype=np.int64)  # microseconds
        self._tasks = np.empty(INITIAL_CAPACITY, dtype=np.int64)  # hashes
        self._summary: Summary | None = None  # None: points were added or dropped since

    def append(self, experience: Experience) -> None:
        row = len(self.points)
        self._summary = None
        if row == self._tasks.size:
            self._grow()
        self._slots[row] = self._contexts.add(experience.context)
        arm = self._arms.setdefault(experience.arm_id, len(self._arms))
        self._facts[row] = (
            key_of(experience.decision_id),
            arm,
            experience.reward,
            experience.weight,
            experience.latency_s,
            np.nan if experience.cost_usd is None else experience.cost_usd,
        )
        self._decided_at[row] = to_micros(experience.decided_at)
        self._tasks[row] = hash(experience.task)
        self._row_of[experience.decision_id] = row
        plain_id = UUID(int=experience.decision_id.int)  # orjson rejects the subclass of PostgreSQL's driver
        self.points.append(Point(plain_id, experience.request_id, experience.task))

    def drop(self, decision_id: UUID) -> None:
        """Remove the point and move the last point into its row."""
        row, last = self._row_of.pop(decision_id), self.points.pop()
        self._summary = None
        self._release(int(self._slots[row]))
        if last.decision_id == decision_id:
            return
        for column in self._columns():
            column[row] = column[len(self.points)]
        self.points[row] = last
        self._row_of[last.decision_id] = row

    def nearest(self, query: NeighbourQuery) -> NeighbourColumns:
        """The points that match the query, of the most similar prompts."""
        matches = self._matching(query)
        slots, similarity = self._contexts.nearest(query.context, self._having(matches), query.limit)
        slots = slots[: np.count_nonzero(similarity >= query.min_similarity)]
        if (row_of_slot := self._summarised().row_of_slot) is not None:
            return self._neighbours(
                row_of_slot[slots], np.arange(slots.size), similarity[: slots.size], query.now
            )
        rows, rank = self._rows_of(slots)
        if matches is not None:
            wanted = matches[rows]
            rows, rank = rows[wanted], rank[wanted]
        facts = self._facts.take(rows)
        order, prompt = by_prompt(rank, facts["arm"], self._decided_at[rows], facts["key"])
        order = order[: prompt.searchsorted(query.limit)]
        return self._neighbours(rows[order], prompt[: order.size], similarity[rank[order]], query.now)

    def _matching(self, query: NeighbourQuery) -> Bools | None:
        """Which points match the query in time and task; None: all."""
        n, since = len(self.points), to_micros(query.since)
        if query.task is None and self._summarised().oldest >= since:
            return None
        matches: Bools = self._decided_at[:n] >= since
        if query.task is not None:
            matches &= self._tasks[:n] == hash(query.task)
        return matches

    def _rows_of(self, slots: Ints) -> tuple[Ints, Ints]:
        """The points that have one of these contexts, and the rank of their context."""
        is_near = np.zeros(len(self._contexts), dtype=np.bool_)
        is_near[slots] = True
        rows = np.flatnonzero(is_near[self._slots[: len(self.points)]])
        by_slot = slots.argsort()
        return rows, by_slot[slots[by_slot].searchsorted(self._slots[rows])]

    def _summarised(self) -> Summary:
        if self._summary is None:
            n, row_of_slot = len(self.points), None
            if len(self._contexts) == n:
                row_of_slot = np.empty(n, dtype=np.int64)
                row_of_slot[self._slots[:n]] = np.arange(n)
            self._summary = Summary(int(self._decided_at[:n].min()), row_of_slot)
        return self._summary

    def _having(self, matches: Bools | None) -> Bools | None:
        """Whether a matching point has it, by the slot of the context; None: every one."""
        if matches is None or matches.all():
            return None
        has_match = np.zeros(len(self._contexts), dtype=np.bool_)
        has_match[self._slots[: matches.size][matches]] = True
        return has_match

    def _release(self, slot: int) -> None:
        moved = self._contexts.release(slot)
        if moved is not None:
            self._slots[self._slots == moved] = slot

    def _neighbours(self, rows: Ints, prompt: Ints, similarity: Vector, now: datetime) -> NeighbourColumns:
        facts = self._facts.take(rows)
        return NeighbourColumns(
            points=tuple(map(self.points.__getitem__, rows.tolist())),
            keys=facts["key"],
            arm_ids=tuple(self._arms),
            arm=facts["arm"],
            prompt=prompt,
            similarity=similarity.astype(np.float64),
            age_s=(to_micros(now) - self._decided_at[rows]) / MICROS_PER_S,
            reward=facts["reward"],
            weight=facts["weight"],
            latency_s=facts["latency_s"],
            cost_usd=facts["cost_usd"],
        )

    def _columns(self) -> tuple[npt.NDArray[Any], ...]:
        return self._slots, self._facts, self._decided_at, self._tasks

    def _grow(self) -> None:
        self._slots = twice(self._slots)
        self._facts = twice(self._facts)
        self._decided_at = twice(self._decided_at)
        self._tasks = twice(self._tasks)
