"""Compare the memory and the evidence with PostgreSQL, and repair what differs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from heapq import heappop, heappush
from uuid import UUID

import numpy as np

from embeddings.encoder import EncoderError, TextEncoder
from service.bootstrap.basics import no_progress
from service.bootstrap.database import open_database
from service.bootstrap.existing import open_existing_database, require_data
from service.bootstrap.memory import open_memory
from service.bootstrap.vectors import open_encoders
from service.commands.jobs.encode_again import encode_again
from service.domain.basics import Vector
from service.domain.feedback import Experience
from service.domain.ports import Memory
from service.errors import StartupError
from service.learning.learner import Learner
from service.settings.settings import Settings
from service.store.connection.migrate import migrate
from service.store.connection.pool import Database
from service.store.evidence.contexts import count_other_contexts
from service.store.evidence.evidence import PostgresEvidence
from service.store.evidence.rebuild import (
    enqueue,
    evidence_differences,
    experiences,
    has_decisions,
    rebuild_evidence,
)
from service.store.log.journal import PostgresJournal

BATCH = 500
SAME_COSINE = 0.9999  # the index normalises vectors again

Experiences = dict[UUID, Experience]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """How many rows and points differed from PostgreSQL before and after.

    Args:
        contexts_before: decisions with a text and the context of another encoder.
        n_without_text: decisions that keep the context of another encoder, and so are no neighbours.
    """

    n_experiences: int
    evidence_before: int
    memory_before: int
    evidence_after: int
    memory_after: int
    contexts_before: int = 0
    contexts_after: int = 0
    n_without_text: int = 0

    @property
    def is_clean(self) -> bool:
        return self.evidence_after == self.memory_after == self.contexts_after == 0

    def text(self) -> str:
        return (
            f"{self._contexts_text()}{self.n_experiences} rated decisions to remember\n"
            f"evidence: {self.evidence_before} differences found, {self.evidence_after} left\n"
            f"memory: {self.memory_before} differences found, {self.memory_after} left"
        )

    def _contexts_text(self) -> str:
        text = ""
        if self.contexts_before:
            text += f"contexts of another encoder: {self.contexts_before} found, {self.contexts_after} left\n"
        if self.n_without_text:
            text += f"{self.n_without_text} decisions of another encoder have no stored text: no neighbours\n"
        return text


@dataclass(frozen=True, slots=True)
class MemoryDifferences:
    """The decisions that the memory lacks or holds with other values, and those that it should not hold."""

    n_due: int  # decisions that the memory should hold
    to_remember: list[UUID]
    to_forget: list[UUID]

    def __len__(self) -> int:
        return len(self.to_remember) + len(self.to_forget)


async def rebuild(
    settings: Settings, environ: Mapping[str, str], *, check_only: bool, force: bool = False
) -> Rebuilt:
    """Open the stores, make contexts of another encoder again, and `reconcile` the stores.

    Args:
        force: go on if there is no data, and empty the memory.

    Raises:
        StartupError: there is no data, or PostgreSQL is not that of the memory; a store cannot be opened; the
            embedded memory belongs to a running service; the encoder failed.
        StoreUnavailable, MemoryUnavailable: a store stopped answering.
    """
    async with AsyncExitStack() as stack:
        if check_only:
            database = await open_existing_database(settings, stack)
        else:
            if not force:
                require_data(settings)
            database = await open_database(
                settings, settings.data_dir, stack, no_progress, is_for_command=True
            )
            await migrate(database)
        encoder = (await open_encoders(settings, environ, stack, no_progress)).decisions
        memory = await open_memory(settings, environ, settings.data_dir, encoder, database, stack)
        if not (check_only or force):
            await _require_same_data(database, memory)
        found = left = await count_other_contexts(database, encoder.name)
        if found.n_with_text and not check_only:
            await _encode_again(database, encoder)
            left = await count_other_contexts(database, encoder.name)
        rebuilt = await reconcile(
            database, memory, encoder.name, settings.memory_points_per_arm, check_only=check_only
        )
        return replace(
            rebuilt,
            contexts_before=found.n_with_text,
            contexts_after=left.n_with_text,
            n_without_text=left.n_without_text,
        )


async def _encode_again(database: Database, encoder: TextEncoder) -> None:
    try:
        await encode_again(database, encoder)
    except EncoderError as error:
        raise StartupError(f"the encoder failed: {error}") from error


async def _require_same_data(database: Database, memory: Memory) -> None:
    """Raises StartupError: the memory would be emptied, because PostgreSQL is empty."""
    if not await has_decisions(database) and (n_points := await memory.count()):
        raise StartupError(
            f"PostgreSQL has no decisions, but the memory has {n_points}: is DATABASE_URL the right one? "
            "`--force` empties the memory"
        )


async def reconcile(
    database: Database, memory: Memory, encoder: str, points_per_arm: int, *, check_only: bool
) -> Rebuilt:
    """Compare evidence and memory with the events in PostgreSQL, and repair what differs.

    Other processes may learn at the same time.

    Args:
        encoder: name of the encoder whose vectors the memory holds.
        points_per_arm: most points that the memory keeps for each arm and tenant.
        check_only: change nothing.

    Raises:
        StoreUnavailable, MemoryUnavailable: a store stopped answering.
    """

    async def memory_differences() -> MemoryDifferences:
        due = await _newest(experiences(database, encoder), points_per_arm)
        return _differences(due, await _newest(memory.all(), points_per_arm))

    found = await memory_differences()
    evidence_before = evidence_after = len(await evidence_differences(database))
    if evidence_before and not check_only:  # learning waits for it
        await rebuild_evidence(database)
        evidence_after = len(await evidence_differences(database))
    if not check_only:
        await _repair(database, memory, encoder, found)
    left = await memory_differences() if found and not check_only else found
    return Rebuilt(
        n_experiences=left.n_due,
        evidence_before=evidence_before,
        memory_before=len(found),
        evidence_after=evidence_after,
        memory_after=len(left),
    )


async def _newest(experiences: AsyncIterator[Experience], per_arm: int) -> Experiences:
    """The newest experiences of every arm and tenant, as pruning keeps them; no more are held at once."""
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


def _differences(due: Experiences, stored: Experiences) -> MemoryDifferences:
    return MemoryDifferences(
        n_due=len(due),
        to_remember=[
            i for i, experience in due.items() if i not in stored or not _same(experience, stored[i])
        ],
        to_forget=[decision_id for decision_id in stored if decision_id not in due],
    )


async def _repair(database: Database, memory: Memory, encoder: str, differences: MemoryDifferences) -> None:
    """Bring every decision that differed to its state in PostgreSQL, which may have changed since.

    Decisions to forget come first: they would push others over the cap.
    """
    learner = Learner(PostgresEvidence(database), memory, PostgresJournal(database), encoder)
    decision_ids = [*differences.to_forget, *differences.to_remember]
    for start in range(0, len(decision_ids), BATCH):
        batch = decision_ids[start : start + BATCH]
        queued = await enqueue(database, batch, encoder)
        await memory.forget([decision_id for decision_id in batch if decision_id not in queued])
        await learner.settle(queued)
    await memory.prune()


def _same(one: Experience, other: Experience) -> bool:
    nowhere: Vector = np.zeros(
        0, dtype=np.float32
    )  # the same object on both sides, so that contexts are not compared here
    if replace(one, context=nowhere) != replace(other, context=nowhere):
        return False
    lengths = float(np.linalg.norm(one.context) * np.linalg.norm(other.context))
    return float(one.context @ other.context) >= SAME_COSINE * lengths
