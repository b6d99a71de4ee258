"""The points of one vector space as rows in this process, for recall.

With at most 500 candidates (or 5 per neighbour requested) every one is compared exactly. With more, only
the candidates that share the most sign bits with the query are: the number of differing signs estimates the
angle between two vectors. At 10,000 points that takes half the time and reads a tenth of the bytes. It misses
hardly any of the nearest twenty neighbours, and some of the last of the nearest hundred
(docs/decisions/0014).

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
INITIAL_CAPACITY = 64  # rows; doubled when they are full
COMPARED_PER_NEIGHBOUR = 5
LEAST_COMPARED = 500


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
            return NeighbourColumns.of([]) if rows is None else rows.nearest(query)

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


class Rows:
    """The points of one tenant, in no order.

    Tasks are compared by hash: 64 bits, salted in each process. If two of a tenant's tasks ever shared a
    hash, each would also recall the other's neighbours, as a request without a task does.
    """

    def __init__(self, dimension: int) -> None:
        self.points: list[Point] = []
        self._row_of: dict[UUID, int] = {}
        self._arms: dict[str, int] = {}  # the index of each arm
        self._contexts = np.empty((INITIAL_CAPACITY, dimension), dtype=np.float32)
        self._signs = np.empty((INITIAL_CAPACITY, signs(self._contexts[0]).size), dtype=np.uint64, order="F")
        self._facts = np.empty(INITIAL_CAPACITY, dtype=FACTS)
        self._decided_at = np.empty(INITIAL_CAPACITY, dtype=np.int64)  # microseconds
        self._tasks = np.empty(INITIAL_CAPACITY, dtype=np.int64)  # hashes

    def append(self, experience: Experience) -> None:
        row = len(self.points)
        if row == self._tasks.size:
            self._grow()
        self._contexts[row] = experience.context
        self._signs[row] = signs(experience.context)
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
        if last.decision_id == decision_id:
            return
        for column in self._columns():
            column[row] = column[len(self.points)]
        self.points[row] = last
        self._row_of[last.decision_id] = row

    def nearest(self, query: NeighbourQuery) -> NeighbourColumns:
        """The points that match the query, most similar first."""
        n = len(self.points)
        matches = self._decided_at[:n] >= to_micros(query.since)
        if query.task is not None:
            matches &= self._tasks[:n] == hash(query.task)
        n_compared = max(query.limit * COMPARED_PER_NEIGHBOUR, LEAST_COMPARED)
        rows = self._candidates(query.context, matches, n_compared)
        # Unlike a matrix-vector product, this does not wake the threads of a BLAS library.
        similarity = np.vecdot(self._contexts.take(rows, axis=0), query.context).clip(-1.0, 1.0)
        nearest = np.argsort(-similarity)[: query.limit]
        nearest = nearest[: np.count_nonzero(similarity[nearest] >= query.min_similarity)]
        return self._neighbours(rows[nearest], similarity[nearest].astype(np.float64), query.now)

    def _candidates(self, context: Vector, matches: Bools, limit: int) -> Ints:
        """The matching rows; if there are more than `limit`, those that share most signs with the context."""
        n_matching = np.count_nonzero(matches)
        if n_matching <= limit:
            return np.flatnonzero(matches)
        differing = np.bitwise_count(self._signs[: matches.size] ^ signs(context))
        n_differing = differing.sum(axis=1, dtype=np.uint16).astype(np.float32)
        if n_matching < matches.size:
            n_differing[~matches] = np.inf
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

    def _grow(self) -> None:
        self._contexts = _twice(self._contexts)
        self._signs = _twice(self._signs)
        self._facts = _twice(self._facts)
        self._decided_at = _twice(self._decided_at)
        self._tasks = _twice(self._tasks)


def signs(context: Vector) -> Bits:
    """One bit per component, set if it is above 0; shape (ceil(d / 64),)."""
    above = np.zeros(-(-context.size // 64) * 64, dtype=np.bool_)
    above[: context.size] = context > 0
    return np.packbits(above).view(np.uint64)


def _twice(column: npt.NDArray[Number]) -> npt.NDArray[Number]:
    return np.concatenate([column, np.empty_like(column)])
