"""A score becomes a reward that every later sum keeps exactly."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from service.domain.feedback import Feedback, Reward
from service.learning.rewards import reward_of, share_of


@pytest.mark.parametrize(
    ("score", "value"), [(1 / 3, "0.333333"), (0.1 + 0.2, "0.3"), (1.0, "1"), (0.0, "0"), (2 / 3, "0.666667")]
)
def test_a_reward_is_the_score_rounded_to_six_places(score: float, value: str) -> None:
    feedback = Feedback("default", "r1", score, None, datetime(2026, 7, 1, tzinfo=UTC))

    assert reward_of(feedback) == Reward(Decimal(value), Decimal(1))


@pytest.mark.parametrize(("n_decisions", "share"), [(1, "1"), (3, "0.333333"), (7, "0.142857")])
def test_a_conversations_share_is_rounded_to_six_places(n_decisions: int, share: str) -> None:
    assert share_of(n_decisions) == Decimal(share)
