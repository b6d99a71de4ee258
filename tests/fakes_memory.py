"""A memory for tests: a dict with the semantics of the real ones."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import zip_longest
from uuid import UUID

from service.domain.basics import Vector
from service.domain.decision import Neighbour
from service.domain.feedback import Experience
from service.domain.neighbours import NeighbourColumns, NeighbourQuery
from service.errors import MemoryUnavailable
from service.memory.prompts import context_key


class FakeMemory:
    """Experiences in a dict. `is_down = True` makes every call fail as a lost server does.

    `recall_s` is how long a recall takes, as one of several calls of a slow server does.
    """

    def __init__(self, *, encoder: str = "fake", max_points_per_arm: int = 1_000) -> None:
        self.encoder = encoder
        self.max_points_per_arm = max_points_per_arm
        self.points: dict[UUID, Experience] = {}
        self.is_down = False
        self.recall_s = 0.0

    async def recall(self, query: NeighbourQuery) -> NeighbourColumns:
        self._require_up()
        if self.recall_s:
            await asyncio.sleep(self.recall_s)
        matching = [
            (experience, _neighbour(experience, query.context, query.now))
            for experience in self.points.values()
            if experience.tenant == query.tenant and experience.decided_at >= query.since
        ]
        near = [(e, n) for e, n in matching if n.similarity >= query.min_similarity]
        near = [(e, n) for e, n in near if query.task in (None, n.task)]
        return NeighbourColumns.of(_nearest_prompts(near, query.limit))

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
            newest_last = sorted(
                experiences, key=lambda e: (e.decided_at, context_key(e.context), e.decision_id)
            )
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


def _nearest_prompts(near: list[tuple[Experience, Neighbour]], limit: int) -> list[Neighbour]:
    """Ask every context again and again, nearest first: each time every arm gives its next newest outcome."""
    contexts: dict[tuple[float, ...], dict[str, list[Neighbour]]] = defaultdict(lambda: defaultdict(list))
    for experience, neighbour in sorted(near, key=lambda pair: pair[1].age_s):
        contexts[tuple(experience.context.tolist())][neighbour.arm_id].append(neighbour)
    prompts: list[list[Neighbour]] = []
    for of_arms in contexts.values():
        prompts += [[n for n in outcomes if n] for outcomes in zip_longest(*of_arms.values())]
    prompts.sort(key=lambda outcomes: -outcomes[0].similarity)
    return [replace(n, prompt=number) for number, outcomes in enumerate(prompts[:limit]) for n in outcomes]


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
