"""Feedback as a reward in [0, 1] and its weight; pure."""

from __future__ import annotations

from decimal import Decimal

from service.domain.feedback import Feedback, Reward

PLACES = Decimal("0.000001")


def reward_of(feedback: Feedback) -> Reward | None:
    """The reward of a feedback; None if it withdraws an earlier one."""
    if feedback.score is None:
        return None
    return Reward(Decimal(repr(feedback.score)).quantize(PLACES))


def share_of(n_decisions: int) -> Decimal:
    """The weight of a conversation's score for each of its decisions; all together weigh 1."""
    return (Decimal(1) / n_decisions).quantize(PLACES)
