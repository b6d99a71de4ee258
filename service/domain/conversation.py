"""The arm that a conversation is on, and how one decision moves it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class ConversationState:
    """The arm that a conversation is on, as its newest request left it."""

    arm_id: str
    vendor: str  # who made that arm's model
    n_messages_of_other_vendors: int  # of the first messages: in these, another vendor's arm may have spoken
    turns: int  # requests of the conversation so far
    holdout: bool | None  # the lot that was cast for it, as in `Decision`
    decision_id: UUID
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class ConversationStep:
    """How a decision stands in its conversation; gain, margin and price are in utility."""

    turn: int  # 1: the conversation begins
    vendor: str  # as in `ConversationState`, of the arm that was chosen
    n_messages_of_other_vendors: int
    holdout: bool | None
    previous_arm_id: str | None = None  # the arm the conversation was on
    is_drawn: bool = True  # False: it stays without a lot, which tells nothing of any policy
    gain: float | None = None  # by the best of the other arms; None: none was weighed against staying
    switch_margin: float | None = None
    cache_loss: float | None = None  # of what the provider remembers of the conversation
