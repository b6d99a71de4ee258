"""Locks and reads, in one statement, all that a group of feedback needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from uuid import UUID

from asyncpg import Record

from service.domain.basics import Json
from service.domain.feedback import Pending
from service.store.connection.pool import Connection
from service.store.evidence.experiences import experience_with
from service.store.evidence.histories import RecordedFeedback, history_of
from service.store.evidence.histories import Versioned as VersionedHistory
from service.store.evidence.standing_feedback import Event, StandingFeedback, reward_of, standing_feedback_of
from service.store.explanations import WEIGHED, explanation_of

Arm = tuple[str, str]  # tenant, arm id


@dataclass(frozen=True, slots=True)
class Named:
    """A decision of a tenant, named by its request id or by its own id, and the arms of signals on it."""

    tenant: str
    request_id: str | None = None
    decision_id: UUID | None = None
    signal_arms: Sequence[str] = ()


class LockedDecision:
    """One locked decision: what was logged of it, and the feedback that counts, which events change."""

    def __init__(self, row: Record) -> None:
        self.decision_id: UUID = row["decision_id"]
        self.tenant: str = row["tenant"]
        self.request_id: str = row["request_id"]
        self.learns: bool = row["learn"]
        self.is_for_memory: bool = row["learn"] and row["context"] is not None
        self.answered_by: str = row["answered_by"]  # the decided arm until there is an outcome
        self.newest = _newest_of(row)
        self.signals = set(zip(row["signals"], row["signal_arms"], strict=True))
        self._row = row
        self._standing = standing_feedback_of(row)
        self._arms_scored = set(row["arms_scored"])
        self.n_own_scores = row["n_own_scores"]  # also those that were replaced; no shares of a conversation
        self.decided_at: datetime = row["decided_at"]

    def append(self, event: Event) -> RecordedFeedback:
        """Add an event; returns what the histories need of it."""
        before, explained = self._standing, self._explained
        self._standing = before.after(event)
        is_first = event.arm_id not in self._arms_scored
        if event.signal is not None:
            self.signals.add((event.signal, event.arm_id))
        else:
            self.newest = event
            if event.reward is not None:
                self._arms_scored.add(event.arm_id)
                self.n_own_scores += event.session_id is None
        return RecordedFeedback(
            decided_at=self._row["decided_at"],
            n_rated=explained.get("n_rated"),
            candidates=explained["candidates"],
            before=before,
            after=self._standing,
            is_first=is_first,
            rater=None if self._row["dialect"] == "import" else event.rater,
        )

    @property
    def is_scored(self) -> bool:
        """Whether it had a score, of its own or of its conversation, also one that was replaced."""
        return bool(self._arms_scored)

    @cached_property
    def _explained(self) -> Json:
        """What was weighed; repeated feedback does not need it."""
        return explanation_of(self._row)

    @property
    def standing(self) -> StandingFeedback:
        return self._standing

    def pending(self, event_id: int) -> Pending:
        """What the memory must hold of the decision after this event, its newest."""
        return Pending(
            decision_id=self.decision_id,
            tenant=self.tenant,
            event_id=event_id,
            experience=experience_with(self._row, self._standing),
            completed_at=self._row["completed_at"],
        )


def _newest_of(row: Record) -> Event | None:
    """The newest score or withdrawal."""
    if row["arm_id"] is None:
        return None
    reward = reward_of(row["reward"], row["weight"])
    return Event(
        row["arm_id"],
        reward,
        score=row["score"],
        text=row["feedback_text"],
        session_id=row["session_id"],
    )


@dataclass(frozen=True, slots=True)
class Locked:
    """Decisions by id, and by tenant and request id; histories by tenant and arm, each with its version."""

    by_id: Mapping[UUID, LockedDecision]
    by_request: Mapping[tuple[str, str], LockedDecision]
    histories: dict[Arm, VersionedHistory]

    def decision(self, named: Named) -> LockedDecision | None:
        """The decision of that tenant; None: there is none."""
        if named.request_id is not None:
            return self.by_request.get((named.tenant, named.request_id))
        assert named.decision_id is not None
        found = self.by_id.get(named.decision_id)
        return found if found is not None and found.tenant == named.tenant else None


# What is read of `d` never changes, so it may be as of before the locks.
_LOCK = f"""
SELECT l.decision_id, coalesce(d.tenant, (l.history).tenant) AS tenant,
    coalesce(l.arm_id, (l.history).arm_id) AS arm_id, d.request_id, d.learn, l.encoder, l.context, d.task,
    d.dialect, d.decided_at, {WEIGHED},
    l.answered_by, l.latency_s, l.cost_usd, l.completed_at, l.score, l.reward, l.weight, l.feedback_text,
    l.session_id, l.signals, l.signalled_arms AS signal_arms, l.signal_weights, l.arms_scored,
    CASE WHEN l.decision_id IS NOT NULL THEN n_own_scores(l.decision_id) END AS n_own_scores,
    (l.history).started_at, (l.history).n, (l.history).reward_sum, (l.history).n_changes,
    (l.history).n_predicted, (l.history).squared_errors, (l.history).rise_statistic,
    (l.history).rise_started_at, (l.history).rise_n, (l.history).rise_reward_sum, (l.history).fall_statistic,
    (l.history).fall_started_at, (l.history).fall_n, (l.history).fall_reward_sum, (l.history).newest,
    (l.history).n_rated, (l.history).is_fallen, (l.history).fallen_at, (l.history).raters,
    (l.history).version
FROM lock_for_feedback($1, $2, $3, $4, $5) l
LEFT JOIN decisions d ON d.decision_id = l.decision_id
"""  # noqa: S608  # joins constants


async def lock(connection: Connection, named: Sequence[Named]) -> Locked:
    """Lock the named decisions, and the histories that feedback on them may change, for a transaction."""
    signalled = [(n.tenant, arm_id) for n in named for arm_id in n.signal_arms]
    rows = await connection.fetch(
        _LOCK,
        [n.tenant for n in named],
        [n.request_id for n in named],
        [n.decision_id for n in named],
        [tenant for tenant, _ in signalled],
        [arm_id for _, arm_id in signalled],
    )
    # A decision that was logged in this very moment has no tenant here: it counts as unknown.
    decisions = [LockedDecision(row) for row in rows if row["decision_id"] and row["tenant"]]
    histories: dict[Arm, VersionedHistory] = {
        (row["tenant"], row["arm_id"]): (row["version"], history_of(row))
        for row in rows
        if row["decision_id"] is None
    }
    return Locked(
        by_id={decision.decision_id: decision for decision in decisions},
        by_request={(decision.tenant, decision.request_id): decision for decision in decisions},
        histories=histories,
    )
