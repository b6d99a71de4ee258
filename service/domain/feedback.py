"""Feedback on answers, implicit signals, and what the router learned from them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal
from uuid import UUID

from service.domain.basics import Vector

FeedbackStatus = Literal["applied", "revised", "duplicate", "withdrawn", "not_learned", "kept", "closed"]


@dataclass(frozen=True, slots=True)
class Rater:
    """Who gives feedback.

    Args:
        key_id: of the caller's key; None: it has none.
        source: where the score comes from, in the caller's words, such as `judge`.
    """

    key_id: UUID | None = None
    source: str | None = None


NO_RATER = Rater()


@dataclass(frozen=True, slots=True)
class Feedback:
    """A user's feedback on an answer. `score=None` withdraws the earlier feedback."""

    tenant: str
    request_id: str
    score: float | None
    text: str | None
    received_at: datetime
    session_id: str | None = None  # set: a share of this conversation's score; None: the request's own
    rater: Rater = NO_RATER


@dataclass(frozen=True, slots=True)
class ConversationFeedback:
    """A user's feedback on a whole conversation. `score=None` withdraws the earlier feedback."""

    tenant: str
    session_id: str
    score: float | None
    text: str | None
    received_at: datetime
    rater: Rater = NO_RATER


@dataclass(frozen=True, slots=True)
class RevisionLimits:
    """How long and how often the rating of an answer can be replaced.

    Args:
        within: time since the decision; None: for good.
        most: replacements; None: any number. The shares of a conversation's score are always replaced.
    """

    within: timedelta | None = None
    most: int | None = None

    def allow(self, feedback: Feedback, decided_at: datetime, is_scored: bool, n_own_scores: int) -> bool:
        """Whether feedback may change a decision that was scored itself so often."""
        if not is_scored:
            return True
        if self.within is not None and feedback.received_at - decided_at > self.within:
            return False
        is_counted = feedback.session_id is None and feedback.score is not None
        return self.most is None or not is_counted or n_own_scores <= self.most


UNLIMITED = RevisionLimits()


@dataclass(frozen=True, slots=True)
class Reward:
    """Feedback, or a weak implicit signal, as one number in [0, 1], with its weight in (0, 1].

    Decimal with at most six places, so that sums of rewards add and withdraw without rounding.
    """

    value: Decimal
    weight: Decimal = Decimal(1)


Signal = Literal["provider_error", "refusal", "empty", "truncated", "invalid_schema", "reask", "complaint"]


@dataclass(frozen=True, slots=True)
class ImplicitSignal:
    """A weak negative signal that the router observes without feedback. Its reward is 0."""

    signal: Signal
    arm_id: str
    weight: Decimal  # in (0, 1], at most six places


@dataclass(frozen=True, slots=True)
class Learned:
    """The committed effect of a feedback."""

    status: FeedbackStatus
    decision_id: UUID
    request_id: str
    arm_id: str
    event_id: int | None  # None: nothing changed (`duplicate`, `kept`)
    reward: float | None
    pending: Pending | None = None  # what the memory must take over; None: nothing


@dataclass(frozen=True, slots=True)
class SignalsLearned:
    """The committed effect of implicit signals on a decision."""

    signals: tuple[ImplicitSignal, ...]  # those that were new
    pending: Pending | None = None  # what the memory must take over; None: nothing


@dataclass(frozen=True, slots=True)
class ConversationLearned:
    """The committed effect of a conversation's feedback on each of its decisions, newest first."""

    session_id: str
    weight: float  # of the score on each decision
    learned: tuple[Learned, ...]


@dataclass(frozen=True, slots=True)
class Experience:
    """A rated decision as the memory stores it."""

    decision_id: UUID
    tenant: str
    request_id: str
    arm_id: str
    encoder: str
    context: Vector
    reward: float
    weight: float
    latency_s: float
    cost_usd: float | None  # None: nobody knows it
    decided_at: datetime
    task: str | None = None  # as its client tagged it


@dataclass(frozen=True, slots=True)
class Pending:
    """A rated decision that the memory must update; `experience=None`: the memory must forget it.

    Args:
        event_id: the newest event on it.
        completed_at: of the outcome that the experience is of; None: there was none yet.
    """

    decision_id: UUID
    tenant: str
    event_id: int
    experience: Experience | None
    completed_at: datetime | None = None
