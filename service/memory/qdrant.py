"""The memory on a Qdrant server or cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

from qdrant_client import grpc
from qdrant_client.conversions.conversion import RestToGrpc
from qdrant_client.models import (
    Direction,
    FieldCondition,
    Filter,
    FilterSelector,
    MatchValue,
    OrderBy,
    PointIdsList,
    PointStruct,
    Range,
    Record,
)

from service.domain.feedback import Experience
from service.domain.neighbours import NeighbourColumns, NeighbourQuery
from service.errors import MemoryUnavailable, StartupError
from service.memory.cap import Cap
from service.memory.collection import Collection, UnfitCollection, client_of
from service.memory.points import (
    ARM_ID,
    CONTEXT,
    DECIDED_AT,
    TASK,
    TENANT,
    TEXTS,
    UNPRICED,
    Found,
    TenantArm,
    latest_of_each,
    require_dimension,
    require_space,
    score_threshold,
    space_name,
    stored_context,
    to_experience,
    to_micros,
    to_neighbours,
    to_payload,
)

PAGE = 500  # points per request, so that a request stays well within its timeout
# A recall searches no further: more outcomes of one prompt than this leave places of other prompts empty.
MOST_POINTS_PER_PROMPT = 20


class QdrantMemory:
    """A memory on a server, shared by all replicas."""

    def __init__(self, collection: Collection, *, encoder: str, dimension: int, cap: Cap) -> None:
        self._collection = collection
        self._encoder = encoder
        self._dimension = dimension
        self._cap = cap
        self._n_points: dict[str, int] = {}  # by tenant, how many points its latest recalls needed

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        api_key: str | None,
        name: str,
        encoder: str,
        dimension: int,
        max_points_per_arm: int,
        timeout_s: float,
        proxy: str | None = None,
    ) -> QdrantMemory:
        """Connect to the server if it is available; otherwise the first call that succeeds connects.

        Args:
            url: `http://host[:port]` or `https://...`; without a port, or with the REST port 6333,
                the gRPC port is 6334.
            name: tells the collections of one database from others' on the same server.
            timeout_s: limit of every call.
            proxy: URL of the proxy to the server; None: it is called directly.

        Raises:
            StartupError: the URL is not that of an HTTP server, or the collection holds other vectors.
        """
        cap = Cap(max_points_per_arm)
        collection = Collection(
            client_of(url, api_key=api_key, timeout_s=timeout_s, proxy=proxy),
            name=f"{name}_{space_name(encoder, dimension)}",
            dimension=dimension,
            timeout_s=timeout_s,
        )
        memory = cls(collection, encoder=encoder, dimension=dimension, cap=cap)
        try:
            await memory.ping()
        except UnfitCollection as error:
            await memory.close()
            raise StartupError(str(error)) from error
        except MemoryUnavailable:
            pass
        return memory

    async def recall(self, query: NeighbourQuery) -> NeighbourColumns:
        require_dimension(query.context, self._dimension)
        most = query.limit * MOST_POINTS_PER_PROMPT
        limit = min(most, max(query.limit + 1, self._n_points.get(query.tenant, 0)))
        while True:
            found = await self._nearest(query, limit)
            is_all = len(found) < limit or limit == most
            neighbours = to_neighbours(found if is_all else _without_last(found), now=query.now)
            if is_all or neighbours.n_prompts >= query.limit:
                break
            limit = min(4 * limit, most)
        neighbours = neighbours.of_prompts(query.limit)
        self._n_points[query.tenant] = max(len(neighbours) + 1, limit * 15 // 16)
        return neighbours

    async def _nearest(self, query: NeighbourQuery, limit: int) -> list[Found]:
        recent = FieldCondition(key=DECIDED_AT, range=Range(gte=to_micros(query.since)))
        same_task = [] if query.task is None else [_equals(TASK, query.task)]
        points = Filter(must=[_equals(TENANT, query.tenant), recent, *same_task])
        context = grpc.VectorInput(dense=grpc.DenseVector(data=query.context.tolist()))
        answer = await self._collection.call(
            # The client's own objects would take three times the CPU.
            lambda client, name: client.grpc_points.Query(
                grpc.QueryPoints(
                    collection_name=name,
                    query=grpc.Query(nearest=context),
                    filter=RestToGrpc.convert_filter(points),
                    limit=limit,
                    score_threshold=score_threshold(query.min_similarity),
                    with_payload=grpc.WithPayloadSelector(enable=True),
                )
            )
        )
        return [_found(point) for point in answer.result]

    async def remember(self, experiences: Sequence[Experience]) -> None:
        require_space(experiences, encoder=self._encoder, dimension=self._dimension)
        latest = latest_of_each(experiences)
        for start in range(0, len(latest), PAGE):
            await self._upsert(latest[start : start + PAGE])
        for arm in self._cap.due(TenantArm(e.tenant, e.arm_id) for e in latest):
            await self._prune_arm(arm)

    async def forget(self, decision_ids: Sequence[UUID]) -> None:
        for start in range(0, len(decision_ids), PAGE):
            await self._delete(PointIdsList(points=list(decision_ids[start : start + PAGE])))

    async def all(self) -> AsyncIterator[Experience]:
        async for record in self._records(payload=True, vectors=True):
            yield to_experience(_uuid(record.id), record.payload or {}, record.vector, encoder=self._encoder)

    async def prune(self) -> None:
        counts: Counter[TenantArm] = Counter()
        async for record in self._records(payload=[TENANT, ARM_ID], vectors=False):
            payload = record.payload or {}
            counts[TenantArm(payload[TENANT], payload[ARM_ID])] += 1
        for arm, count in counts.items():
            if count > self._cap.max_points:
                await self._prune_arm(arm)

    async def count(self) -> int:
        return await self._count(Filter())

    async def clear(self) -> None:
        await self._delete(FilterSelector(filter=Filter()))

    async def ping(self) -> None:
        await self._collection.call(lambda client, name: client.count(name, exact=False))

    async def close(self) -> None:
        await self._collection.close()

    async def _upsert(self, experiences: Sequence[Experience]) -> None:
        points = [
            PointStruct(
                id=experience.decision_id, vector=experience.context.tolist(), payload=to_payload(experience)
            )
            for experience in experiences
        ]
        await self._collection.call(lambda client, name: client.upsert(name, points, wait=True))

    async def _delete(self, points: PointIdsList | FilterSelector) -> None:
        await self._collection.call(lambda client, name: client.delete(name, points, wait=True))

    async def _count(self, points: Filter) -> int:
        found = await self._collection.call(lambda client, name: client.count(name, points, exact=True))
        return found.count

    async def _records(
        self, points: Filter | None = None, *, payload: bool | list[str], vectors: bool
    ) -> AsyncIterator[Record]:
        offset: UUID | None = None
        while True:
            records, offset = await self._page(points, offset, payload=payload, vectors=vectors)
            for record in records:
                yield record
            if offset is None:
                return

    async def _page(
        self, points: Filter | None, offset: UUID | None, *, payload: bool | list[str], vectors: bool
    ) -> tuple[list[Record], UUID | None]:
        """Up to PAGE points from `offset` on, ordered by id, and the offset of the next page."""
        records, following = await self._collection.call(
            lambda client, name: client.scroll(
                name,
                scroll_filter=points,
                offset=offset,
                limit=PAGE,
                with_payload=payload,
                with_vectors=vectors,
            )
        )
        return records, None if following is None else _uuid(following)

    async def _prune_arm(self, arm: TenantArm) -> None:
        # List first, then count. If another replica removes points in between, this one removes fewer points,
        # or the same points again, and never newer ones.
        points = Filter(must=[_equals(TENANT, arm.tenant), _equals(ARM_ID, arm.arm_id)])
        while True:
            oldest = await self._oldest(points, PAGE)
            excess = await self._count(points) - self._cap.max_points
            if excess <= 0 or not oldest:
                return
            await self.forget(oldest[:excess])

    async def _oldest(self, points: Filter, limit: int) -> list[UUID]:
        """The first `limit` by time, then by context, so that all arms keep the same prompts, then by id."""
        by_time, _ = await self._collection.call(
            lambda client, name: client.scroll(
                name,
                scroll_filter=points,
                limit=limit,
                order_by=OrderBy(key=DECIDED_AT, direction=Direction.ASC),
                with_payload=False,
            )
        )
        if not by_time:  # another replica removed them
            return []
        last = by_time[-1].order_value
        earlier = [_uuid(record.id) for record in by_time if record.order_value != last]
        same_time = Filter(must=[points, FieldCondition(key=DECIDED_AT, range=Range(gte=last, lte=last))])
        by_id = [
            (_uuid(record.id), record.payload or {})
            async for record in self._records(same_time, payload=[CONTEXT], vectors=False)
        ]
        by_context = sorted(by_id, key=lambda point: stored_context(*point))
        return earlier + [decision_id for decision_id, _ in by_context[: limit - len(earlier)]]


def _without_last(found: Sequence[Found]) -> Sequence[Found]:
    """The points without the least similar ones: the search may have left out others of their prompts."""
    return [point for point in found if point.similarity > found[-1].similarity]


def _found(point: grpc.ScoredPoint) -> Found:
    values = point.payload
    payload: dict[str, Any] = {name: values[name].string_value for name in TEXTS}
    payload[DECIDED_AT] = values[DECIDED_AT].integer_value
    for name in (TASK, CONTEXT, UNPRICED):
        if name in values and (kind := values[name].WhichOneof("kind")) != "null_value":
            payload[name] = getattr(values[name], kind)
    return Found(UUID(point.id.uuid), payload, point.score)


def _equals(field: str, value: str) -> FieldCondition:
    return FieldCondition(key=field, match=MatchValue(value=value))


def _uuid(point_id: object) -> UUID:
    return point_id if isinstance(point_id, UUID) else UUID(str(point_id))
