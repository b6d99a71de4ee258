"""Learn a group of feedback and signals in one transaction, each with a result of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from service.domain.feedback import (
    Feedback,
    FeedbackStatus,
    ImplicitSignal,
    Learned,
    RevisionLimits,
    Reward,
    SignalsLearned,
)
from service.errors import UnknownRequest
from service.store.connection.pool import Connection
from service.store.connection.values import storable
from service.store.evidence.append import Group, Written
from service.store.evidence.locked import LockedDecision, Named, lock
from service.store.evidence.standing_feedback import Event


@dataclass(frozen=True, slots=True)
class Rated:
    """A feedback with its reward; None withdraws the earlier feedback."""

    feedback: Feedback
    reward: Reward | None

    @property
    def named(self) -> Named:
        return Named(self.feedback.tenant, request_id=self.feedback.request_id)


@dataclass(frozen=True, slots=True)
class Signalled:
    """Implicit signals on a decision."""

    tenant: str
    decision_id: UUID
    signals: Sequence[ImplicitSignal]
    received_at: datetime

    @property
    def named(self) -> Named:
        arms = [signal.arm_id for signal in self.signals]
        return Named(self.tenant, decision_id=self.decision_id, signal_arms=arms)


Entry = Rated | Signalled
Effect = Learned | SignalsLearned | Exception
Finish = Callable[[Written], Effect]  # makes the effect of an entry once its events have numbers


async def learn_group(
    connection: Connection, entries: Sequence[Entry], sender: str, limits: RevisionLimits
) -> tuple[list[Effect], Written]:
    """Append the events of the entries, one after the other; UnknownRequest is the effect of some.

    Args:
        connection: in a transaction.
    """
    group = Group(await lock(connection, [entry.named for entry in entries]))
    finishes = [_appended(group, entry, limits) for entry in entries]
    written = await group.write(connection, sender)
    return [finish(written) for finish in finishes], written


def _appended(group: Group, entry: Entry, limits: RevisionLimits) -> Finish:
    decision = group.locked.decision(entry.named)
    if isinstance(entry, Signalled):
        return _appended_signals(group, decision, entry)
    feedback = entry.feedback
    if decision is None:
        return _raising(f"request_id {feedback.request_id!r} does not exist", param="request_id")
    before = decision.newest
    text, session_id = storable(feedback.text), storable(feedback.session_id)
    if _outweighs(before, feedback):
        return _unchanged("kept", decision)
    event = Event(
        decision.answered_by,
        entry.reward,
        score=None if entry.reward is None else feedback.score,
        text=text,
        session_id=session_id,
        rater=replace(feedback.rater, source=storable(feedback.rater.source)),
    )
    if _is_repeated(before, event):
        return _unchanged("duplicate", decision)
    if not limits.allow(feedback, decision.decided_at, decision.is_scored, decision.n_own_scores):
        return _unchanged("closed", decision)
    place = group.append(decision, event, feedback.received_at)
    was_rated = before is not None and before.reward is not None
    return _learned(_status(decision.learns, was_rated, entry.reward), decision, event, place, group)


def _appended_signals(group: Group, decision: LockedDecision | None, entry: Signalled) -> Finish:
    if decision is None:
        return _raising(f"no decision {entry.decision_id} was logged")
    known = decision.signals
    new = tuple(signal for signal in entry.signals if (signal.signal, signal.arm_id) not in known)
    if not new or not decision.learns:
        return lambda _: SignalsLearned(())
    for signal in new:
        reward = Reward(Decimal(0), signal.weight)
        group.append(decision, Event(signal.arm_id, reward, signal.signal), entry.received_at)
    return lambda written: SignalsLearned(new, group.pending(decision, written))


def _learned(
    status: FeedbackStatus, decision: LockedDecision, event: Event, place: int, group: Group
) -> Finish:
    return lambda written: Learned(
        status=status,
        decision_id=decision.decision_id,
        request_id=decision.request_id,
        arm_id=event.arm_id,
        event_id=written.event_ids[place],
        reward=None if event.reward is None else float(event.reward.value),
        pending=group.pending(decision, written),
    )


def _unchanged(status: FeedbackStatus, decision: LockedDecision) -> Finish:
    newest = decision.newest
    learned = Learned(
        status=status,
        decision_id=decision.decision_id,
        request_id=decision.request_id,
        arm_id=decision.answered_by if newest is None else newest.arm_id,
        event_id=None,
        reward=None if newest is None or newest.reward is None else float(newest.reward.value),
    )
    return lambda _: learned


def _raising(message: str, param: str | None = None) -> Finish:
    return lambda _: UnknownRequest(message, param=param)


def _outweighs(newest: Event | None, feedback: Feedback) -> bool:
    """Whether the request has a rating of its own, and the feedback is on its conversation."""
    is_rated = newest is not None and newest.reward is not None and newest.session_id is None
    return feedback.session_id is not None and is_rated


def _is_repeated(newest: Event | None, event: Event) -> bool:
    before = None if newest is None else newest.reward
    if newest is None or before is None or event.reward is None:
        return before is None and event.reward is None
    if (newest.score, newest.text, newest.session_id) != (event.score, event.text, event.session_id):
        return False
    if event.session_id is not None and before.weight != event.reward.weight:  # the conversation has grown
        return False
    return event.score is not None or before.value == event.reward.value


def _status(learns: bool, was_rated: bool, reward: Reward | None) -> FeedbackStatus:
    if not learns:
        return "not_learned"
    if reward is None:
        return "withdrawn"
    return "revised" if was_rated else "applied"
