"""Users' requests in the log that can be asked again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from service.domain.basics import Json, Vector


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """A user's answered request in the log whose body is stored."""

    decision_id: UUID
    decided_at: datetime
    body_digest: bytes
    text: str  # that its context was made from
    task: str | None
    encoder: str | None  # names the vector space of `context`
    context: Vector | None


@dataclass(frozen=True, slots=True)
class RatedRequest:
    """A user's answered request with its stored body and answer.

    Args:
        reward: of the newest feedback, in [0, 1]; None: nobody rated the answer.
    """

    decision_id: UUID
    decided_at: datetime
    body: Json
    answer: str
    reward: float | None
