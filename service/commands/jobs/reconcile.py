"""Compare the memory and the evidence with PostgreSQL, and repair what differs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from heapq import heappop, heappush
from uuid import UUID

import numpy as np

from service.bootstrap.open import no_progress, open_database, open_encoder, open_memory
from service.domain.basics import Vector
from service.domain.feedback import Experience
from service.domain.ports import Memory
from service.learning.learner import Learner
from service.settings.settings import Settings
from service.store.connection.migrate import migrate
from service.store.connection.pool import Database
from service.store.evidence.evidence import PostgresEvidence
from service.store.evidence.rebuild import enqueue, evidence_differences, experiences, rebuild_evidence
from service.store.log.journal import PostgresJournal

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

    n_due: int  # decisions it should have
    to_remember: list[UUID]
    to_forget: list[UUID]

    def __len__(self) -> int:
        return len(self.to_remember) + len(self.to_forget)


async def rebuild(settings: Settings, *, check_only: bool) -> Rebuilt:
    """Open the stores and `reconcile` them.

    Raises:
        StartupError: a store cannot be opened; the embedded memory belongs to a running service.
        StoreUnavailable, MemoryUnavailable: a store went away meanwhile.
    """
    async with AsyncExitStack() as stack:
        database = await open_database(settings, settings.data_dir, stack, no_progress)
        await migrate(database)
        encoder = await open_encoder(settings, stack, no_progress)
        memory = await open_memory(settings, settings.data_dir, encoder, stack)
        return await reconcile(
            database, memory, encoder.name, settings.memory_points_per_arm, check_only=check_only
        )


async def reconcile(
    database: Database, memory: Memory, encoder: str, points_per_arm: int, *, check_only: bool
) -> Rebuilt:
    """Compare evidence and memory with what PostgreSQL's events say, and put right what differs.

    Others may learn meanwhile.

    Args:
        encoder: whose vectors the memory holds.
        points_per_arm: how many points of an arm and tenant the memory keeps.
        check_only: change nothing.

    Raises:
        StoreUnavailable, MemoryUnavailable: a store went away meanwhile.
    """

    async def memory_differences() -> MemoryDifferences:
        due = await _newest(experiences(database, encoder), points_per_arm)
        return _differences(due, await _newest(memory.all(), points_per_arm))

    found = await memory_differences()
    evidence_before = len(await evidence_differences(database))
    if evidence_before and not check_only:  # learners wait for it
        await rebuild_evidence(database)
    if not check_only:
        await _mend(database, memory, encoder, found)
    left = found if check_only else await memory_differences()
    return Rebuilt(
        n_experiences=left.n_due,
        evidence_before=evidence_before,
        memory_before=len(found),
        evidence_after=len(await evidence_differences(database)),
        memory_after=len(left),
    )


async def _newest(experiences: AsyncIterator[Experience], per_arm: int) -> Experiences:
    """What pruning leaves: the newest of every arm and tenant. Holds no more than these at any time."""
    newest: Experiences = {}
    by_age: defaultdict[tuple[str, str], list[tuple[datetime, UUID]]] = defaultdict(list)
    async for experience in experiences:
        arm = by_age[experience.tenant, experience.arm_id]
        newest[experience.decision_id] = experience
        heappush(arm, (experience.decided_at, experience.decision_id))
        if len(arm) > per_arm:
            _, oldest = heappop(arm)
            del newest[oldest]
    return newest


def _differences(due: Experiences, held: Experiences) -> MemoryDifferences:
    return MemoryDifferences(
        n_due=len(due),
        to_remember=[i for i, experience in due.items() if i not in held or not _same(experience, held[i])],
        to_forget=[decision_id for decision_id in held if decision_id not in due],
    )


async def _mend(database: Database, memory: Memory, encoder: str, differences: MemoryDifferences) -> None:
    """Settle every decision that differed, by what PostgreSQL says of it now: it may know more since.

    Those to forget first: they would push others over the cap.
    """
    learner = Learner(PostgresEvidence(database), memory, PostgresJournal(database), encoder)
    decision_ids = [*differences.to_forget, *differences.to_remember]
    for start in range(0, len(decision_ids), BATCH):
        batch = decision_ids[start : start + BATCH]
        queued = await enqueue(database, batch, encoder)
        await memory.forget([decision_id for decision_id in batch if decision_id not in queued])
        for decision_id in batch:
            if decision_id in queued:
                await learner.settle(decision_id)
    await memory.prune()


def _same(one: Experience, other: Experience) -> bool:
    nowhere: Vector = np.zeros(0, dtype=np.float32)  # one object, so that comparing it is comparing nothing
    if replace(one, context=nowhere) != replace(other, context=nowhere):
        return False
    lengths = float(np.linalg.norm(one.context) * np.linalg.norm(other.context))
    return float(one.context @ other.context) >= SAME_COSINE * lengths
