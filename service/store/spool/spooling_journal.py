"""The journal that writes to PostgreSQL, or to the spool while PostgreSQL is unavailable."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from uuid import UUID

import structlog

from service.domain.answer import Attempt, Outcome
from service.domain.answer_ids import decision_named_by
from service.domain.basics import Json
from service.domain.decision import Decision, LoggedDecision
from service.domain.lately import Lately
from service.errors import RequestConflict, StoreUnavailable
from service.grouped import Grouped
from service.store.log.group import MOST_ENTRIES, GroupJournal, LogEntry
from service.store.spool.codec import CompletedRun, Entry
from service.store.spool.spool import Spool, Waiting

log = structlog.get_logger(__name__)

_PATIENCE_S = 0.1  # that entries wait for a group before them; a server that hangs must not hold up all


class SpoolingJournal:
    """A Journal that writes to PostgreSQL in groups, or to the spool while PostgreSQL is unavailable.

    An entry that comes alone is written at once; what comes during a write is the next group. An entry is
    written even if nobody waits for it any more.

    Between `start` and `close` the spool is drained, in order, as soon as PostgreSQL answers again.
    Later entries of a decision wait behind its earlier ones. Draining may repeat a write made before a
    crash, which changes nothing in the journal.
    """

    def __init__(self, journal: GroupJournal, spool: Spool, *, retry_every_s: float = 1.0) -> None:
        self._journal = journal
        self._spool = spool
        self._retry_every_s = retry_every_s
        self._logging = Grouped(self._log_group, most=MOST_ENTRIES, patience_s=_PATIENCE_S)
        self._finding = Grouped(self._find_group, most=MOST_ENTRIES, patience_s=_PATIENCE_S)
        self.writing = Lately()  # to PostgreSQL
        self.keeping = Lately(failures=1)  # there or in the spool: a failure is a loss
        self._spooled = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._first_decisions: dict[
            UUID, LoggedDecision
        ] = {}  # by the id of the second decision of a request
        self._draining: asyncio.Task[None] | None = None

    @property
    def is_degraded(self) -> bool:
        return self.n_spooled > 0

    @property
    def n_spooled(self) -> int:
        """The number of decisions and outcomes that wait for PostgreSQL."""
        return self._spool.n_entries

    @property
    def n_refused(self) -> int:
        """The number of entries lost because the spool was full or could not be written."""
        return self._spool.n_refused

    def has_unwritten(self) -> bool:
        """Whether decisions of this process, or of others of its machine, wait for PostgreSQL."""
        return self.is_degraded or self._spool.others_wait()

    @property
    def n_rejected(self) -> int:
        """The number of spooled lines that were damaged, or that PostgreSQL can never accept."""
        return self._spool.n_rejected

    @property
    def reserved_bytes(self) -> int:
        """How much the spool can still take when the disk is full."""
        return self._spool.reserved_bytes

    async def start(self) -> None:
        await self._spool.open()
        self._spooled.set()
        self._draining = asyncio.create_task(self._drain_when_needed(), name="spool")

    async def close(self) -> None:
        await self._logging.idle()
        if self._draining is not None:
            self._draining.cancel()
            with suppress(asyncio.CancelledError):
                await self._draining
        await self._spool.close()

    async def find(self, tenant: str, request_id: str) -> LoggedDecision | None:
        waiting = self._spool.find(tenant, request_id)
        if waiting is not None:
            return waiting
        found = await self._finding.add((tenant, request_id))
        if found is None:
            return None
        return replace(found, n_attempts=found.n_attempts + self._spool.n_attempts(found.decision_id))

    async def log_decision(self, decision: Decision) -> None:
        await self._log(LogEntry(decision))

    async def log_outcome(self, outcome: Outcome, attempts: Sequence[Attempt]) -> None:
        await self._log(LogEntry(None, outcome, tuple(attempts)))

    async def log_answer(self, decision: Decision, outcome: Outcome, attempts: Sequence[Attempt]) -> None:
        await self._log(LogEntry(decision, outcome, tuple(attempts)))

    async def request_named_by(self, tenant: str, answer_id: str) -> str | None:
        found = await self._journal.request_named_by(tenant, answer_id)
        decision_id = decision_named_by(answer_id)
        if found is None and decision_id is not None and self._spool.contains(decision_id):
            raise StoreUnavailable(f"the request of answer {answer_id!r} is not written to PostgreSQL yet")
        return found

    async def record(self, tenant: str, request_id: str) -> Json | None:
        if self._spool.find(tenant, request_id) is not None:
            raise StoreUnavailable(f"request {request_id!r} is not written to PostgreSQL yet")
        return await self._journal.record(tenant, request_id)

    async def drain(self) -> None:
        """Write the waiting entries to the journal, oldest first; StoreUnavailable leaves the rest."""
        async with self._one_at_a_time:
            while waiting := await self._spool.first(MOST_ENTRIES):
                forgotten = await self._forgotten_among(waiting)
                if forgotten or not await self._write_together(waiting):
                    for line in waiting:
                        if _decision_id_of(line) in forgotten:
                            await self._spool.done(line)
                        else:
                            await self._write_alone(line)

    async def drop_forgotten(self) -> None:
        """Delete the rejected lines of requests that were forgotten. Raises StoreUnavailable."""
        rejected = await self._spool.rejected()
        if forgotten := await self._forgotten_among(rejected):
            await self._spool.drop_rejected({r.line for r in rejected if _decision_id_of(r) in forgotten})

    async def _forgotten_among(self, lines: Sequence[Waiting]) -> set[UUID]:
        """The decisions of these lines that were forgotten before they reached PostgreSQL."""
        decisions = [line.entry for line in lines if isinstance(line.entry, Decision)]
        ids = [decision_id for line in lines if (decision_id := _decision_id_of(line)) is not None]
        return await self._journal.forgotten_among(decisions, ids) if ids else set()

    # --- writing

    async def _log(self, entry: LogEntry) -> None:
        await asyncio.shield(self._logging.add(entry))  # it is written also if its caller is cancelled

    async def _find_group(self, keys: Sequence[tuple[str, str]]) -> Sequence[LoggedDecision | None]:
        return await self._journal.find_group(keys)

    async def _log_group(self, entries: Sequence[LogEntry]) -> list[Exception | None]:
        """Write what does not have to wait in the spool; all of it goes there without PostgreSQL."""
        is_waiting = [self._waits(entry) for entry in entries]
        direct = [entry for entry, waits in zip(entries, is_waiting, strict=True) if not waits]
        try:
            written = iter(await self._journal.log_group(direct) if direct else ())
        except StoreUnavailable as error:
            self.writing.failed(error)
            is_waiting, written = [True] * len(entries), iter(())
        else:
            if direct:
                self.writing.succeeded()
                self.keeping.succeeded()
        spooled = [entry for entry, waits in zip(entries, is_waiting, strict=True) if waits]
        appended = iter(await asyncio.gather(*map(self._spool_entry, spooled)) if spooled else ())
        return [next(appended if waits else written) for waits in is_waiting]

    def _waits(self, entry: LogEntry) -> bool:
        """Whether the entry has to wait behind an earlier one in the spool."""
        if entry.decision is not None:
            query = entry.decision.query
            return self._spool.find(query.tenant, query.request_id) is not None
        return entry.outcome is not None and self._spool.contains(entry.outcome.decision_id)

    async def _spool_entry(self, entry: LogEntry) -> Exception | None:
        """Spool the decision, unless it waits there already, and then the outcome; returns the error."""
        try:
            if entry.decision is not None:
                await self._spool_decision(entry.decision)
            if entry.outcome is not None:
                await self._append(CompletedRun(entry.outcome, tuple(entry.attempts)))
        except (RequestConflict, StoreUnavailable) as error:
            return error
        return None

    async def _spool_decision(self, decision: Decision) -> None:
        waiting = self._spool.find(decision.query.tenant, decision.query.request_id)
        if waiting is None:
            await self._append(replace(decision, degraded=(*decision.degraded, "store")))
        elif waiting.decision_id != decision.decision_id:
            raise RequestConflict(
                f"X-Request-ID {decision.query.request_id!r} was used before", param="X-Request-ID"
            )

    async def _append(self, entry: Entry) -> None:
        try:
            await self._spool.append(entry)
        except StoreUnavailable as error:
            self.keeping.failed(error)
            raise
        self.keeping.succeeded()
        self._spooled.set()

    # --- draining

    async def _write_together(self, waiting: Sequence[Waiting]) -> bool:
        """Write the entries as one group; whether all of it was written as it is."""
        entries = [
            _entry_of(w.entry) for w in waiting if w.entry is not None and not self._is_second(w.entry)
        ]
        if len(entries) < len(waiting) or any(await self._journal.log_group(entries)):
            return False
        self.writing.succeeded()
        for line in waiting:
            await self._spool.done(line)
        return True

    def _is_second(self, entry: Entry) -> bool:
        """Whether the entry belongs to an earlier decision of its request."""
        return isinstance(entry, CompletedRun) and entry.outcome.decision_id in self._first_decisions

    async def _write_alone(self, waiting: Waiting) -> None:
        try:
            await self._write(waiting.entry)
        except StoreUnavailable:
            raise
        except Exception:
            log.exception("spooled_line_rejected", n_bytes=len(waiting.line))
            await self._spool.reject(waiting)
        else:
            await self._spool.done(waiting)

    async def _write(self, entry: Entry | None) -> None:
        if entry is None:
            raise ValueError("the line is not a valid entry")
        if isinstance(entry, CompletedRun):
            run = self._under_first_decision(entry)
            await self._journal.log_outcome(run.outcome, run.attempts)
            return
        try:
            await self._journal.log_decision(entry)
        except RequestConflict:
            first = await self._journal.find(entry.query.tenant, entry.query.request_id)
            if first is None:
                raise
            if first.body_digest != entry.query.body_digest:  # another replica used the id during the outage
                await self._journal.log_decision(replace(entry, query=entry.query.under_own_id()))
                return
            # A retry of a request logged before the outage: its calls belong to the earlier decision.
            self._first_decisions[entry.decision_id] = first

    def _under_first_decision(self, run: CompletedRun) -> CompletedRun:
        first = self._first_decisions.pop(run.outcome.decision_id, None)
        if first is None:
            return run
        return CompletedRun(
            replace(run.outcome, decision_id=first.decision_id),
            tuple(
                replace(a, decision_id=first.decision_id, position=first.n_attempts + a.position)
                for a in run.attempts
            ),
        )

    async def _drain_when_needed(self) -> None:
        while True:
            await self._spooled.wait()
            self._spooled.clear()
            try:
                await self.drain()
            except Exception as error:
                if not isinstance(error, StoreUnavailable):
                    log.exception("spool_not_drained")  # most likely the disk
                self._spooled.set()
                await asyncio.sleep(self._retry_every_s)


def _decision_id_of(line: Waiting) -> UUID | None:
    if isinstance(line.entry, CompletedRun):
        return line.entry.outcome.decision_id
    return None if line.entry is None else line.entry.decision_id


def _entry_of(spooled: Entry) -> LogEntry:
    if isinstance(spooled, CompletedRun):
        return LogEntry(None, spooled.outcome, spooled.attempts)
    return LogEntry(spooled)
