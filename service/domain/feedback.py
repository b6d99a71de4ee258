"""What was said, or shown, of an answer, and what was learned from it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from service.domain.basics import Vector

FeedbackStatus = Literal["applied", "revised", "duplicate", "withdrawn", "not_learned", "kept"]


@dataclass(frozen=True, slots=True)
class Feedback:
    """What somebody said of an answer. `score=None` withdraws what was said before."""

    tenant: str
    request_id: str
    score: float | None
    text: str | None
    received_at: datetime
    session_id: str | None = None  # said of this whole conversation; None: of the request itself


@dataclass(frozen=True, slots=True)
class ConversationFeedback:
    """What somebody said of a whole conversation. `score=None` withdraws what was said before."""

    tenant: str
    session_id: str
    score: float | None
    text: str | None
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Reward:
    """Feedback, or a weak implicit signal, as one number in [0, 1], with its weight in (0, 1].

    Decimal with at most six places, so that sums of rewards add and withdraw without rounding.
    """

    value: Decimal
    weight: Decimal = Decimal(1)


Signal = Literal["provider_error", "refusal", "empty", "truncated", "invalid_schema", "reask"]


@dataclass(frozen=True, slots=True)
class ImplicitSignal:
    """An implicit signal: what a request shows of an arm though nobody says it. Its reward is 0."""

    signal: Signal
    arm_id: str
    weight: Decimal  # in (0, 1], at most six places


@dataclass(frozen=True, slots=True)
class Learned:
    """What a feedback did; committed."""

    status: FeedbackStatus
    decision_id: UUID
    request_id: str
    arm_id: str
    event_id: int | None  # None: nothing changed (`duplicate`, `kept`)
    reward: float | None


@dataclass(frozen=True, slots=True)
class ConversationLearned:
    """What a conversation's feedback did to each of its decisions, newest first; committed."""

    session_id: str
    weight: float  # of the score, for each decision
    learned: tuple[Learned, ...]


@dataclass(frozen=True, slots=True)
class Experience:
    """A rated decision as the memory keeps it."""

    decision_id: UUID
    tenant: str
    request_id: str
    arm_id: str
    encoder: str
    context: Vector
    reward: float
    weight: float
    latency_s: float
    cost_usd: float
    decided_at: datetime
    task: str | None = None  # as its caller tagged it


@dataclass(frozen=True, slots=True)
class Pending:
    """A rated decision whose memory is not yet up to date; `experience=None`: forget it."""

    decision_id: UUID
    tenant: str
    event_id: int
    experience: Experience | None
