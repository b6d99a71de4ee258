"""The arm of a conversation, and what one decision changes in it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from service.domain.value import value


@value
class ConversationState:
    """A conversation's current arm after its newest request."""

    arm_id: str
    vendor: str  # of the arm's model
    n_messages_of_other_vendors: int  # the first messages, which another vendor's arm may have written
    turns: int  # number of requests so far
    holdout: bool | None  # drawn once for the conversation, as in `Decision`
    decision_id: UUID
    updated_at: datetime


@value
class Place:
    """Where an answer stands in a conversation without a session id, in digests.

    Args:
        opening: of the conversation's first words.
        asked: of the user's question before the answer, and the one before that. A question alone can also
            be the last example of its own prompt.
        earlier: of the question before that one alone.
    """

    opening: bytes
    asked: bytes
    earlier: bytes


@value
class ConversationStep:
    """A decision's place in its conversation; gain, margin and loss are in units of utility."""

    turn: int  # 1: the first request
    vendor: str  # of the chosen arm
    n_messages_of_other_vendors: int
    holdout: bool | None
    previous_arm_id: str | None = None  # the conversation's arm before this decision
    is_drawn: bool = True  # False: the arm stays without a draw
    gain: float | None = None  # of the best other arm over staying; None: no other arm was compared
    switch_margin: float | None = None
    cache_loss: float | None = None  # value of the prompt cache that switching would lose
