"""A memory for tests: a dict with the semantics of the real ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from uuid import UUID

from service.domain.basics import Vector
from service.domain.decision import Neighbour
from service.domain.feedback import Experience
from service.domain.neighbours import NeighbourColumns, NeighbourQuery
from service.errors import MemoryUnavailable


class FakeMemory:
    """Experiences in a dict. `is_down = True` makes every call fail as a lost server does."""

    def __init__(self, *, encoder: str = "fake", max_points_per_arm: int = 1_000) -> None:
        self.encoder = encoder
        self.max_points_per_arm = max_points_per_arm
        self.points: dict[UUID, Experience] = {}
        self.is_down = False

    async def recall(self, query: NeighbourQuery) -> NeighbourColumns:
        self._require_up()
        near = [
            _neighbour(experience, query.context, query.now)
            for experience in self.points.values()
            if experience.tenant == query.tenant and experience.decided_at >= query.since
        ]
        near = [neighbour for neighbour in near if neighbour.similarity >= query.min_similarity]
        near = [neighbour for neighbour in near if query.task in (None, neighbour.task)]
        return NeighbourColumns.of(sorted(near, key=lambda neighbour: -neighbour.similarity)[: query.limit])

    async def remember(self, experiences: Sequence[Experience]) -> None:
        self._require_up()
        for experience in experiences:
            if experience.encoder != self.encoder:
                raise ValueError(f"encoder must be {self.encoder!r}, got {experience.encoder!r}")
        self.points.update({experience.decision_id: experience for experience in experiences})
        await self.prune()

    async def forget(self, decision_ids: Sequence[UUID]) -> None:
        self._require_up()
        for decision_id in decision_ids:
            self.points.pop(decision_id, None)

    async def all(self) -> AsyncIterator[Experience]:
        self._require_up()
        for experience in list(self.points.values()):
            yield experience

    async def prune(self) -> None:
        self._require_up()
        arms: dict[tuple[str, str], list[Experience]] = defaultdict(list)
        for experience in self.points.values():
            arms[experience.tenant, experience.arm_id].append(experience)
        for experiences in arms.values():
            newest_last = sorted(experiences, key=lambda e: (e.decided_at, e.decision_id))
            await self.forget([e.decision_id for e in newest_last[: -self.max_points_per_arm]])

    async def count(self) -> int:
        self._require_up()
        return len(self.points)

    async def clear(self) -> None:
        self._require_up()
        self.points.clear()

    async def ping(self) -> None:
        self._require_up()

    async def close(self) -> None:
        self.is_down = True

    def _require_up(self) -> None:
        if self.is_down:
            raise MemoryUnavailable("the memory is down")


def _neighbour(experience: Experience, context: Vector, now: datetime) -> Neighbour:
    return Neighbour(
        decision_id=experience.decision_id,
        request_id=experience.request_id,
        arm_id=experience.arm_id,
        similarity=min(1.0, max(-1.0, float(context @ experience.context))),
        age_s=(now - experience.decided_at).total_seconds(),
        reward=experience.reward,
        weight=experience.weight,
        latency_s=experience.latency_s,
        cost_usd=experience.cost_usd,
        task=experience.task,
    )
