"""Work on the stores outside requests: migrating, and rebuilding what PostgreSQL can tell anew."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from uuid import UUID

import numpy as np

from service.opening import open_database, open_encoder, open_memory, silent
from service.ports import Memory
from service.settings import Settings
from service.store.migrate import migrate
from service.store.pool import Database
from service.store.rebuild import evidence_differences, experiences, rebuild_evidence
from service.types import Experience, Vector

BATCH = 500
SAME_COSINE = 0.9999  # the index normalises vectors once more

Experiences = dict[UUID, Experience]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """How much differed from PostgreSQL when it began, and when it ended."""

    n_experiences: int
    evidence_before: int
    memory_before: int
    evidence_after: int
    memory_after: int

    @property
    def is_clean(self) -> bool:
        return self.evidence_after == self.memory_after == 0

    def text(self) -> str:
        return (
            f"{self.n_experiences} rated decisions to remember\n"
            f"evidence: {self.evidence_before} differences found, {self.evidence_after} left\n"
            f"memory: {self.memory_before} differences found, {self.memory_after} left"
        )


@dataclass(frozen=True, slots=True)
class MemoryDifferences:
    """What the memory lacks or has otherwise, and what it should not have."""

    to_remember: list[Experience]
    to_forget: list[UUID]

    def __len__(self) -> int:
        return len(self.to_remember) + len(self.to_forget)


async def migrate_database(settings: Settings) -> list[str]:
    """Bring the schema up to date; the names of the migrations that were applied."""
    async with AsyncExitStack() as stack:
        return await migrate(await open_database(settings, settings.data_dir, stack, silent))


async def rebuild(settings: Settings, *, check_only: bool) -> Rebuilt:
    """Compare evidence and memory with what PostgreSQL's events say, and put right what differs.

    Args:
        check_only: change nothing.

    Raises:
        StartupError: a store cannot be opened; the embedded memory belongs to a running service.
        StoreUnavailable, MemoryUnavailable: a store went away meanwhile.
    """
    async with AsyncExitStack() as stack:
        database = await open_database(settings, settings.data_dir, stack, silent)
        await migrate(database)
        encoder = await open_encoder(settings, stack, silent)
        memory = await open_memory(settings, settings.data_dir, encoder, stack)
        due = await _due(database, encoder.name, settings.memory_points_per_arm)
        await memory.prune()
        found = await _memory_differences(memory, due)
        evidence_before = len(await evidence_differences(database))
        if not check_only:
            await rebuild_evidence(database)
            await _mend(memory, found)
        return Rebuilt(
            n_experiences=len(due),
            evidence_before=evidence_before,
            memory_before=len(found),
            evidence_after=len(await evidence_differences(database)),
            memory_after=len(await _memory_differences(memory, due)),
        )


async def _due(database: Database, encoder: str, points_per_arm: int) -> Experiences:
    """What the memory should hold: the newest experiences of every arm and tenant."""
    by_arm: defaultdict[tuple[str, str], list[Experience]] = defaultdict(list)
    async for experience in experiences(database, encoder):
        by_arm[experience.tenant, experience.arm_id].append(experience)
    due: Experiences = {}
    for held in by_arm.values():
        held.sort(key=lambda e: (e.decided_at, e.decision_id), reverse=True)
        due |= {experience.decision_id: experience for experience in held[:points_per_arm]}
    return due


async def _memory_differences(memory: Memory, due: Mapping[UUID, Experience]) -> MemoryDifferences:
    held = {experience.decision_id: experience async for experience in memory.all()}
    return MemoryDifferences(
        to_remember=[e for i, e in due.items() if i not in held or not _same(e, held[i])],
        to_forget=[decision_id for decision_id in held if decision_id not in due],
    )


async def _mend(memory: Memory, differences: MemoryDifferences) -> None:
    for batch in _batches(differences.to_remember):
        await memory.remember(batch)
    await memory.forget(differences.to_forget)
    await memory.prune()


def _batches(items: list[Experience]) -> Iterable[list[Experience]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


def _same(one: Experience, other: Experience) -> bool:
    nowhere: Vector = np.zeros(0, dtype=np.float32)  # one object, so that comparing it is comparing nothing
    if replace(one, context=nowhere) != replace(other, context=nowhere):
        return False
    lengths = float(np.linalg.norm(one.context) * np.linalg.norm(other.context))
    return float(one.context @ other.context) >= SAME_COSINE * lengths
