"""Entries of the log that are written together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol
from uuid import UUID

import orjson
from asyncpg import Record

from service.domain.answer import Attempt, Outcome
from service.domain.basics import Json
from service.domain.decision import Decision, LoggedDecision
from service.domain.ports import Journal
from service.domain.value import value
from service.errors import RequestConflict, UnknownRequest
from service.store.log.request_bodies import body_to_store
from service.store.log.rows import (
    attempt_row,
    decision_row,
    moved_state,
    outcome_row,
    state_of_decision,
    states_named_by,
)

MOST_ENTRIES = 128  # a group holds its locks for a short time


@value
class LogEntry:
    """What one call of the journal commits: a decision, an outcome with its attempts, or both."""

    decision: Decision | None
    outcome: Outcome | None = None
    attempts: Sequence[Attempt] = ()


class GroupJournal(Journal, Protocol):
    """A Journal that finds and commits many entries at once."""

    async def find_group(self, keys: Sequence[tuple[str, str]]) -> list[LoggedDecision | None]:
        """The decision of each tenant and request id; None: there is none."""
        ...

    async def log_group(self, entries: Sequence[LogEntry]) -> list[Exception | None]:
        """Commit the entries; returns the error of each that was not written, in the same order.

        Raises StoreUnavailable; then some of them may be committed, and repeating them changes nothing.
        """
        ...

    async def forgotten_among(self, decisions: Sequence[Decision], decision_ids: Sequence[UUID]) -> set[UUID]:
        """Those of these decisions, and of these ids, that must not be logged. Raises StoreUnavailable."""
        ...


def in_groups(entries: Iterable[LogEntry]) -> Iterator[list[LogEntry]]:
    """The entries in order, in groups with at most one outcome of a decision."""
    group: list[LogEntry] = []
    completed: set[UUID] = set()
    for entry in entries:
        is_second = entry.outcome is not None and entry.outcome.decision_id in completed
        if is_second or len(group) == MOST_ENTRIES:
            yield group
            group, completed = [], set()
        group.append(entry)
        if entry.outcome is not None:
            completed.add(entry.outcome.decision_id)
    if group:
        yield group


@dataclass(slots=True)
class Group:
    """The rows of some entries, as the parameters of `log_group` in the schema."""

    decided: list[bytes] = field(default_factory=list)
    states: list[bytes] = field(default_factory=list)
    moved: list[bytes] = field(default_factory=list)
    completed: list[bytes] = field(default_factory=list)
    called: list[bytes] = field(default_factory=list)
    earlier: list[UUID] = field(default_factory=list)
    earlier_tenants: list[str] = field(default_factory=list)
    asked: list[UUID] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, entries: Sequence[LogEntry], *, store_texts: bool) -> Group:
        group, decided = cls(), set()
        for entry in entries:
            if entry.decision is not None:
                group._add_decision(entry.decision, store_texts=store_texts)
                decided.add(entry.decision.decision_id)
            if (outcome := entry.outcome) is not None:
                group._add_outcome(outcome, entry.attempts, store_texts=store_texts)
                if outcome.decision_id not in decided:
                    group.earlier.append(outcome.decision_id)
                    group.earlier_tenants.append(outcome.tenant)
        return group

    @property
    def values(self) -> tuple[object, ...]:
        tables = self.decided, self.states, self.moved, self.completed, self.called
        return (*map(_array, tables), self.earlier, self.earlier_tenants, self.asked, self.bodies)

    def _add_decision(self, decision: Decision, *, store_texts: bool) -> None:
        self.decided.append(_json(decision_row(decision, store_texts=store_texts)))
        if store_texts and (body := body_to_store(decision.query)) is not None:
            self.asked.append(decision.decision_id)
            self.bodies.append(body)
        if (state := state_of_decision(decision)) is not None:
            self.states.append(_json(state))

    def _add_outcome(self, outcome: Outcome, attempts: Sequence[Attempt], *, store_texts: bool) -> None:
        self.completed.append(_json(outcome_row(outcome, store_texts=store_texts)))
        self.called.extend(_json(attempt_row(outcome.tenant, attempt)) for attempt in attempts)
        self.states.extend(map(_json, states_named_by(outcome)))
        if (state := moved_state(outcome)) is not None:
            self.moved.append(_json(state))


def problems_of(entries: Sequence[LogEntry], rows: Sequence[Record]) -> list[Exception | None]:
    """The error of each entry, by the rows that `log_group` returned."""
    problems = {row["decision_id"]: row["problem"] for row in rows if row["problem"] is not None}
    return [_problem(entry, problems) for entry in entries]


def _problem(entry: LogEntry, problems: dict[UUID, str]) -> Exception | None:
    if entry.decision is not None and entry.decision.decision_id in problems:
        return RequestConflict(
            f"X-Request-ID {entry.decision.query.request_id!r} was used before", param="X-Request-ID"
        )
    if entry.outcome is not None and entry.outcome.decision_id in problems:
        return UnknownRequest(f"no decision {entry.outcome.decision_id} was logged")
    return None


def _array(rows: Sequence[bytes]) -> str | None:
    """The rows as one JSON array; None: there are none."""
    return (b"[" + b",".join(rows) + b"]").decode() if rows else None


def _json(row: Json) -> bytes:
    return orjson.dumps(row, default=_as_text, option=orjson.OPT_SERIALIZE_NUMPY)


def _as_text(value: object) -> str:
    """A value as PostgreSQL reads it from a string."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    if isinstance(value, UUID):  # of asyncpg's own class
        return str(value)
    raise TypeError(f"cannot write a {type(value).__name__}")
