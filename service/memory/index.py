"""The points of one vector space, row by row in this process, to be recalled from.

Up to 500 points, or five for each neighbour asked for, are all compared with the context. Of more, those are
that share most signs with it: the angle between two vectors shows in how many signs differ. At 10,000 points
that takes half the time and reads a tenth of the bytes. It misses hardly any of the nearest twenty,
and of the nearest hundred some of the last (docs/decisions/0014).

Source: Charikar (2002), Similarity Estimation Techniques from Rounding Algorithms, STOC 34.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from threading import Lock
from typing import Any, TypeVar
from uuid import UUID

import numpy as np
import numpy.typing as npt

from service.domain.basics import Vector
from service.domain.feedback import Experience
from service.domain.neighbours import NeighbourColumns, NeighbourQuery, Point, key_of
from service.memory.points import require_dimension, to_micros

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Bits = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]
Number = TypeVar("Number", bound=np.generic)
MICROS_PER_S = 1e6
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
FIRST_ROOM = 64  # rows; doubled when they are full
COMPARED_PER_NEIGHBOUR = 5
LEAST_COMPARED = 500


class Index:
    """What can be recalled. Tenants share no array, so that no search can meet another's points.

    Any thread may write while another searches: each takes its turn.
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
            return NeighbourColumns.of([]) if rows is None else rows.nearest(query)

    def put(self, experiences: Iterable[Experience]) -> None:
        """Add or replace. The turn ends with each of them, so that no search has to wait for all."""
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


class Rows:
    """The points of one tenant, in no order.

    Of a task only its hash is compared: 64 bits, salted in each process. Should two of a tenant's tasks ever
    share it, each would recall the other's neighbours too, as a request without a task does.
    """

    def __init__(self, dimension: int) -> None:
        self.points: list[Point] = []
        self._row_of: dict[UUID, int] = {}
        self._arms: dict[str, int] = {}  # each arm's number
        self._contexts = np.empty((FIRST_ROOM, dimension), dtype=np.float32)
        self._signs = np.empty((FIRST_ROOM, signs(self._contexts[0]).size), dtype=np.uint64, order="F")
        self._facts = np.empty(FIRST_ROOM, dtype=FACTS)
        self._decided_at = np.empty(FIRST_ROOM, dtype=np.int64)  # microseconds
        self._tasks = np.empty(FIRST_ROOM, dtype=np.int64)  # hashes of them

    def append(self, one: Experience) -> None:
        row = len(self.points)
        if row == self._tasks.size:
            self._make_room()
        self._contexts[row] = one.context
        self._signs[row] = signs(one.context)
        arm = self._arms.setdefault(one.arm_id, len(self._arms))
        self._facts[row] = key_of(one.decision_id), arm, one.reward, one.weight, one.latency_s, one.cost_usd
        self._decided_at[row] = to_micros(one.decided_at)
        self._tasks[row] = hash(one.task)
        self._row_of[one.decision_id] = row
        plain_id = UUID(int=one.decision_id.int)  # the one of PostgreSQL's driver is its own, and no JSON
        self.points.append(Point(plain_id, one.request_id, one.task))

    def drop(self, decision_id: UUID) -> None:
        """Give the row to the last one."""
        row, last = self._row_of.pop(decision_id), self.points.pop()
        if last.decision_id == decision_id:
            return
        for column in self._columns():
            column[row] = column[len(self.points)]
        self.points[row] = last
        self._row_of[last.decision_id] = row

    def nearest(self, query: NeighbourQuery) -> NeighbourColumns:
        """The points that the query admits, most similar first."""
        n = len(self.points)
        counts = self._decided_at[:n] >= to_micros(query.since)
        if query.task is not None:
            counts &= self._tasks[:n] == hash(query.task)
        n_compared = max(query.limit * COMPARED_PER_NEIGHBOUR, LEAST_COMPARED)
        rows = self._candidates(query.context, counts, n_compared)
        # Unlike a product of matrix and vector, this leaves the threads of a BLAS library asleep.
        similarity = np.vecdot(self._contexts.take(rows, axis=0), query.context).clip(-1.0, 1.0)
        nearest = np.argsort(-similarity)[: query.limit]
        nearest = nearest[: np.count_nonzero(similarity[nearest] >= query.min_similarity)]
        return self._neighbours(rows[nearest], similarity[nearest].astype(np.float64), query.now)

    def _candidates(self, context: Vector, counts: Bools, limit: int) -> Ints:
        """Those that count; if these are more than `limit`, those that share most signs with the context."""
        n_counting = np.count_nonzero(counts)
        if n_counting <= limit:
            return np.flatnonzero(counts)
        differing = np.bitwise_count(self._signs[: counts.size] ^ signs(context))
        n_differing = differing.sum(axis=1, dtype=np.uint16).astype(np.float32)
        if n_counting < counts.size:
            n_differing[~counts] = np.inf
        return np.argpartition(n_differing, limit)[:limit]

    def _neighbours(self, rows: Ints, similarity: Floats, now: datetime) -> NeighbourColumns:
        facts = self._facts.take(rows)
        return NeighbourColumns(
            points=tuple([self.points[row] for row in rows.tolist()]),
            keys=facts["key"],
            arm_ids=tuple(self._arms),
            arm=facts["arm"],
            similarity=similarity,
            age_s=(to_micros(now) - self._decided_at[rows]) / MICROS_PER_S,
            reward=facts["reward"],
            weight=facts["weight"],
            latency_s=facts["latency_s"],
            cost_usd=facts["cost_usd"],
        )

    def _columns(self) -> tuple[npt.NDArray[Any], ...]:
        return self._contexts, self._signs, self._facts, self._decided_at, self._tasks

    def _make_room(self) -> None:
        self._contexts = _twice(self._contexts)
        self._signs = _twice(self._signs)
        self._facts = _twice(self._facts)
        self._decided_at = _twice(self._decided_at)
        self._tasks = _twice(self._tasks)


def signs(context: Vector) -> Bits:
    """One bit for each number, set where it is above 0; shape (ceil(d / 64),)."""
    above = np.zeros(-(-context.size // 64) * 64, dtype=np.bool_)
    above[: context.size] = context > 0
    return np.packbits(above).view(np.uint64)


def _twice(column: npt.NDArray[Number]) -> npt.NDArray[Number]:
    return np.concatenate([column, np.empty_like(column)])
