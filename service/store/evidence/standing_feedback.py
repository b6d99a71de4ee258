"""The feedback on one decision that counts: for each arm its newest score, or else its signals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from asyncpg import Record

from service.domain.feedback import NO_RATER, Rater, Reward, Signal

Signalled = tuple[str, Decimal]  # arm id and weight


@dataclass(frozen=True, slots=True)
class Event:
    """One score, withdrawal or implicit signal on a decision."""

    arm_id: str  # the arm that is rated
    reward: Reward | None  # None: withdraws the earlier score
    signal: Signal | None = None
    score: float | None = None
    text: str | None = None
    session_id: str | None = None  # set: a share of this conversation's score
    rater: Rater = NO_RATER


@dataclass(frozen=True, slots=True)
class StandingFeedback:
    """The feedback on one decision that counts.

    Args:
        rated: the arm of the newest score, and its reward; None: no score, or withdrawn.
        signals: arm and weight of every implicit signal, in order.
    """

    rated: tuple[str, Reward] | None = None
    signals: tuple[Signalled, ...] = ()

    def after(self, event: Event) -> StandingFeedback:
        """The standing feedback after one more event."""
        if event.signal is None:
            return replace(self, rated=None if event.reward is None else (event.arm_id, event.reward))
        assert event.reward is not None, "a signal is never withdrawn"
        return replace(self, signals=(*self.signals, (event.arm_id, event.reward.weight)))

    @property
    def arms(self) -> set[str]:
        """The arms with a score or a signal."""
        return {arm_id for arm_id, _ in self.signals} | ({self.rated[0]} if self.rated else set())

    def scored(self, arm_id: str) -> Reward | None:
        """The reward of this arm's score."""
        return self.rated[1] if self.rated and self.rated[0] == arm_id else None

    def signalled(self, arm_id: str) -> Reward | None:
        """The reward from this arm's signals; None if it has a score."""
        weight = sum((weight for arm, weight in self.signals if arm == arm_id), Decimal(0))
        if weight == 0 or self.scored(arm_id) is not None:
            return None
        return Reward(Decimal(0), min(weight, Decimal(1)))

    def of(self, arm_id: str) -> Reward | None:
        """The reward of this arm that counts."""
        return self.scored(arm_id) or self.signalled(arm_id)

    def rewards(self) -> dict[str, Reward]:
        """The rewards that count, by arm."""
        return {arm_id: reward for arm_id in self.arms if (reward := self.of(arm_id)) is not None}

    def remembered(self, answered_by: str) -> tuple[str, Reward] | None:
        """The arm and reward for the memory: of the score, or else of the answering arm's signals."""
        signalled = self.signalled(answered_by)
        return self.rated or (None if signalled is None else (answered_by, signalled))


def standing_feedback_of(row: Record) -> StandingFeedback:
    """A row of `verdicts`, or one with its columns."""
    reward = reward_of(row["reward"], row["weight"])
    return StandingFeedback(
        rated=None if reward is None else (row["arm_id"], reward),
        signals=tuple(zip(row["signal_arms"], row["signal_weights"], strict=True)),
    )


def event_of(row: Record) -> Event:
    """A row of `feedback_events`."""
    return Event(row["arm_id"], reward_of(row["reward"], row["weight"]), row["signal"])


def reward_of(reward: Decimal | None, weight: Decimal | None) -> Reward | None:
    """The columns `reward` and `weight`; both are NULL without a rating."""
    return None if reward is None or weight is None else Reward(reward, weight)
