"""Qdrant's engine on one local folder: blocking calls, for one thread of one process.

The engine stores the points. `index` has a copy of all points for recall, because a search by the engine
takes ten times as long.

A deleted point occupies space until the engine compacts. Each flush compacts if there are more deleted points
than live points, and more than MAX_DEAD. So the space is that of at most twice the live points, plus MAX_DEAD
and one flush, however long the process lives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from qdrant_edge import (
    CountRequest,
    Direction,
    Distance,
    EdgeConfig,
    EdgeOptimizersConfig,
    EdgeShard,
    EdgeVectorParams,
    FieldCondition,
    Filter,
    HnswIndexConfig,
    MatchValue,
    OrderBy,
    PayloadSchemaType,
    Point,
    RangeFloat,
    ScrollRequest,
    UpdateOperation,
)

from service.domain.feedback import Experience
from service.errors import StartupError
from service.memory.cap import Cap
from service.memory.index import Index
from service.memory.points import (
    ARM_ID,
    CONTEXT,
    DECIDED_AT,
    TENANT,
    TenantArm,
    latest_of_each,
    require_space,
    stored_context,
    to_experience,
    to_payload,
)

PAGE = 500
# Unflushed writes survive a kill in the engine's log, which grows until the next flush.
POINTS_PER_FLUSH = 1_000
MAX_DEAD = 5_000
INDEXES = {
    TENANT: PayloadSchemaType.Keyword,
    ARM_ID: PayloadSchemaType.Keyword,
    DECIDED_AT: PayloadSchemaType.Integer,
}


class DamagedMemory(Exception):  # named for what it tells
    """The files of the memory cannot be read."""


def is_of_engine(error: BaseException) -> bool:
    """Whether the engine raised the error: a bare Exception, or a panic, whose class cannot be imported."""
    return type(error) is Exception or type(error).__name__ == "PanicException"


class Shard:
    """The points of one vector space, in one folder.

    Raises StartupError if another process uses the folder, and DamagedMemory if it does not load. For every
    other error, see `is_of_engine`.
    """

    def __init__(self, directory: Path, encoder: str, dimension: int, cap: Cap) -> None:
        self._encoder = encoder
        self._dimension = dimension
        self._cap = cap
        self._n_unflushed = 0
        self.index = Index(dimension)
        directory.mkdir(parents=True, exist_ok=True)
        try:
            self._engine = _prepared(EdgeShard.load(str(directory), _config(dimension)))
            self._fill_index()
        except BaseException as error:
            if isinstance(error, Exception) or is_of_engine(error):  # points may be of any shape
                raise _failure(directory, error) from error
            raise
        self._n_slots = self.count()  # upper bound of live and dead points: a replaced point counts twice

    def remember(self, experiences: Sequence[Experience]) -> None:
        require_space(experiences, encoder=self._encoder, dimension=self._dimension)
        latest = latest_of_each(experiences)
        for start in range(0, len(latest), PAGE):
            page = latest[start : start + PAGE]
            points = [Point(e.decision_id, e.context.tolist(), to_payload(e)) for e in page]
            self._n_slots += len(points)
            self._update(UpdateOperation.upsert_points(points), n_points=len(points))
            self.index.put(page)
        for arm in self._cap.due(TenantArm(e.tenant, e.arm_id) for e in latest):
            self._prune_arm(arm)

    def forget(self, decision_ids: Sequence[UUID]) -> None:
        self._update(UpdateOperation.delete_points(list(decision_ids)), n_points=len(decision_ids))
        self.index.drop(decision_ids)

    def page(self, offset: UUID | None) -> tuple[list[Experience], UUID | None]:
        """Up to PAGE points from `offset` on, and the offset of the next page."""
        records, following = self._engine.scroll(
            ScrollRequest(offset=offset, limit=PAGE, with_payload=True, with_vector=True)
        )
        page = [
            to_experience(_uuid(record.id), record.payload or {}, record.vector, encoder=self._encoder)
            for record in records
        ]
        return page, None if following is None else _uuid(following)

    def prune(self) -> None:
        for arm in self._arms_over_cap():
            self._prune_arm(arm)

    def count(self) -> int:
        return self._engine.count(CountRequest())

    def clear(self) -> None:
        self._update(UpdateOperation.delete_points_by_filter(Filter()), n_points=self.count())
        self.index.clear()

    def close(self) -> None:
        self._engine.flush()
        self._engine.close()

    def _fill_index(self) -> None:
        page, following = self.page(None)
        self.index.put(page)
        while following is not None:
            page, following = self.page(following)
            self.index.put(page)

    def _by_time(self, points: Filter, *, limit: int) -> list[tuple[int, UUID]]:
        """The first `limit` by time: time in microseconds, and id."""
        order = OrderBy(DECIDED_AT, Direction.Asc)
        records, _ = self._engine.scroll(
            ScrollRequest(filter=points, limit=limit, order_by=order, with_payload=False)
        )
        return [(int(record.order_value or 0), _uuid(record.id)) for record in records]

    def _update(self, operation: UpdateOperation, *, n_points: int) -> None:
        self._engine.update(operation)
        self._n_unflushed += n_points
        if self._n_unflushed >= POINTS_PER_FLUSH:
            self._engine.flush()
            self._n_unflushed = 0
            self._compact_when_due()

    def _compact_when_due(self) -> None:
        n_live = self.count()
        if self._n_slots - n_live > max(MAX_DEAD, n_live):
            _compact(self._engine)
            self._n_slots = n_live

    def _arms_over_cap(self) -> list[TenantArm]:
        n_points = self._engine.count(CountRequest())
        records, _ = self._engine.scroll(ScrollRequest(limit=max(1, n_points), with_payload=[TENANT, ARM_ID]))
        payloads = [record.payload or {} for record in records]
        counts = Counter(TenantArm(payload[TENANT], payload[ARM_ID]) for payload in payloads)
        return [arm for arm, count in counts.items() if count > self._cap.max_points]

    def _prune_arm(self, arm: TenantArm) -> None:
        points = Filter(must=[_equals(TENANT, arm.tenant), _equals(ARM_ID, arm.arm_id)])
        excess = self._engine.count(CountRequest(filter=points)) - self._cap.max_points
        if excess > 0:
            self.forget(self._oldest(points, excess))

    def _oldest(self, points: Filter, limit: int) -> list[UUID]:
        """The first `limit` by time, then by context, so that all arms keep the same prompts, then by id."""
        by_time = self._by_time(points, limit=limit)
        last, _ = by_time[-1]
        earlier = [decision_id for decided_at, decision_id in by_time if decided_at != last]
        same_time = FieldCondition(DECIDED_AT, range=RangeFloat(gte=last, lte=last))
        records, _ = self._engine.scroll(
            ScrollRequest(
                filter=Filter(must=[points, same_time]), limit=max(1, self.count()), with_payload=[CONTEXT]
            )
        )
        by_id = [(_uuid(record.id), record.payload or {}) for record in records]
        by_context = sorted(by_id, key=lambda point: stored_context(*point))
        return earlier + [decision_id for decision_id, _ in by_context[: limit - len(earlier)]]


def _failure(directory: Path, error: BaseException) -> StartupError | DamagedMemory:
    if "WouldBlock" in str(error):
        return StartupError(f"another process uses the memory in {directory}")
    return DamagedMemory(f"{directory}: {error}")


def _config(dimension: int) -> EdgeConfig:
    return EdgeConfig(
        vectors=EdgeVectorParams(size=dimension, distance=Distance.Cosine),
        # No graph: `optimize` would take minutes to build it.
        hnsw_config=HnswIndexConfig(m=0, ef_construct=4, full_scan_threshold=10),
        optimizers=EdgeOptimizersConfig(indexing_threshold=1_000_000_000),
    )


def _prepared(engine: EdgeShard) -> EdgeShard:
    for field, schema in INDEXES.items():
        engine.update(UpdateOperation.create_field_index(field, schema))
    _compact(engine)
    return engine


def _compact(engine: EdgeShard) -> None:
    """Free the space of deleted points; a crash meanwhile loses nothing.

    The engine keeps the interpreter's lock meanwhile: 0.1 s for few points, 0.4 s for 20,000.
    """
    engine.optimize()


def _equals(field: str, value: str) -> FieldCondition:
    return FieldCondition(field, match=MatchValue(value))


def _uuid(point_id: object) -> UUID:
    return point_id if isinstance(point_id, UUID) else UUID(str(point_id))
