"""Decisions and outcomes on disk while PostgreSQL is unavailable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

import structlog

from service.domain.decision import Decision, LoggedDecision
from service.errors import StoreUnavailable
from service.store.spool.codec import CompletedRun, Entry, decode, encode
from service.store.spool.durable_lines import RESERVE_BYTES, LineFile

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A line of the spool; `entry=None`: the line is damaged."""

    line: bytes
    entry: Entry | None


class Spool:
    """Decisions and outcomes on disk, in order, with an index of the waiting entries.

    Args:
        folder: of its file, and of the file `rejected` for damaged lines, and for those that PostgreSQL can
            never accept.
        max_bytes: largest size of the file.
        reserve_bytes: of the disk, which are kept for the next lines.
        store_texts: whether the texts of queries and answers are written.
    """

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        *,
        reserve_bytes: int = RESERVE_BYTES,
        store_texts: bool = False,
    ) -> None:
        self.n_refused = 0  # entries that did not fit, or could not be written
        self.n_rejected = 0  # lines that were damaged, or that PostgreSQL can never accept
        self._n_damaged = 0  # of these, the ones that are not in `rejected` yet
        self._file = LineFile(folder, min(reserve_bytes, max_bytes))
        self._max_bytes = max_bytes
        self._store_texts = store_texts
        self._read_until = 0
        self._decisions: dict[tuple[str, str], LoggedDecision] = {}
        self._n_entries: Counter[UUID] = Counter()
        self._n_attempts: Counter[UUID] = Counter()

    async def open(self) -> None:
        for line in await self._file.open():
            entry = _decoded(line)
            self._count(entry, +1)
            self._n_damaged += entry is None
        if self._n_damaged:
            log.warning("spool_damaged", n_lines=self._n_damaged)
        self.n_rejected = self._n_damaged

    async def close(self) -> None:
        await self._file.close()

    @property
    def n_entries(self) -> int:
        """The number of waiting decisions and outcomes."""
        return self._n_entries.total()

    def others_wait(self) -> bool:
        """Whether entries of other processes wait in the folder."""
        with suppress(OSError):  # a file was adopted and removed this very moment
            return self._file.others_have_lines()
        return True

    @property
    def reserved_bytes(self) -> int:
        """How much can still be written when the disk is full."""
        return self._file.reserved

    def find(self, tenant: str, request_id: str) -> LoggedDecision | None:
        """The waiting decision with this request id."""
        found = self._decisions.get((tenant, request_id))
        return None if found is None else replace(found, n_attempts=self.n_attempts(found.decision_id))

    def n_attempts(self, decision_id: UUID) -> int:
        """The number of waiting attempts of this decision."""
        return self._n_attempts[decision_id]

    def contains(self, decision_id: UUID) -> bool:
        """Whether the decision or its outcome waits."""
        return self._n_entries[decision_id] > 0

    async def append(self, entry: Entry) -> None:
        """Add to the end; on disk when this returns. Raises StoreUnavailable if it is full or fails."""
        line = encode(entry, store_texts=self._store_texts)
        if self._file.size + len(line) > self._max_bytes:
            self.n_refused += 1
            raise StoreUnavailable(
                f"PostgreSQL is unavailable and the spool is full ({self._max_bytes} bytes)"
            )
        self._count(entry, +1)
        try:
            await self._file.append(line)
        except OSError as error:
            self._count(entry, -1)
            self.n_refused += 1
            raise StoreUnavailable("PostgreSQL is unavailable and the spool cannot be written") from error

    async def first(self, most: int = 1) -> list[Waiting]:
        """The oldest waiting entries; fewer if they are long."""
        lines = await self._file.lines_at(self._read_until, most)
        return [Waiting(line, _decoded(line)) for line in lines]

    async def done(self, waiting: Waiting) -> None:
        """Remove the oldest entry; after the last one the file is emptied."""
        self._read_until += len(waiting.line)
        self._count(waiting.entry, -1)
        if self._read_until == self._file.end:
            await self._file.empty_if_read_until(self._read_until)

    async def reject(self, waiting: Waiting) -> None:
        """Move the oldest entry to `rejected`."""
        await self._file.set_aside(waiting.line)
        if waiting.entry is None and self._n_damaged:
            self._n_damaged -= 1
        else:
            self.n_rejected += 1
        await self.done(waiting)

    async def rejected(self) -> list[Waiting]:
        """The lines that PostgreSQL can never accept."""
        return [Waiting(line, _decoded(line)) for line in await self._file.set_aside_lines()]

    async def drop_rejected(self, lines: Collection[bytes]) -> None:
        """Delete these lines from `rejected`."""
        await self._file.drop_set_aside(lines)

    def _count(self, entry: Entry | None, change: int) -> None:
        if isinstance(entry, CompletedRun):
            _add(self._n_entries, entry.outcome.decision_id, change)
            _add(self._n_attempts, entry.outcome.decision_id, change * len(entry.attempts))
        if isinstance(entry, Decision):
            _add(self._n_entries, entry.decision_id, change)
            key = entry.query.tenant, entry.query.request_id
            if change > 0:
                self._decisions[key] = _logged(entry)
            else:
                self._decisions.pop(key, None)


def _decoded(line: bytes) -> Entry | None:
    try:
        return decode(line)
    except ValueError:
        return None


def _logged(decision: Decision) -> LoggedDecision:
    return LoggedDecision(
        decision_id=decision.decision_id,
        body_digest=decision.query.body_digest,
        arm_id=decision.arm_id,
        propensity=decision.propensity,
        kind=decision.kind,
        n_attempts=0,
        probabilities=tuple((c.arm_id, c.probability) for c in decision.candidates),
        step=decision.step,
    )


def _add(counter: Counter[UUID], key: UUID, change: int) -> None:
    counter[key] += change
    if not counter[key]:
        del counter[key]  # otherwise ids would accumulate
