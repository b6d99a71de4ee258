"""The history of one arm: a fold over its feedback, in commit order, that detects when the arm changes.

    history' = learn(history, rating)

Late, revised and withdrawn feedback only adds to, or subtracts from, the sums that its decision counts in.
Only the two cumulative statistics depend on the order, so the log in commit order gives the same history.
"""

from dataclasses import dataclass, replace

import numpy as np

from bandit.evidence import MICRO_GRAIN
from bandit.experts import N_EXPERTS
from bandit.raters import NO_RATERS, Raters, Shares, largest

N_PREDICTIONS = N_EXPERTS + 1  # each expert, and their mixture
LARGEST_SHOCK = 3.0  # standard deviations at which one surprise is clipped
DRIFT = 0.5  # standard deviations that the CUSUM subtracts from each surprise
ALARM = 14.0  # value of the CUSUM above which the arm has changed
LARGEST_SHARE = 0.75 * ALARM  # that one of several raters can give the CUSUM
LEAST_ALONE = 12.0  # ratings of decisions since the onset with which a sole rater can raise an alarm
FADE = 0.004  # share of a fallen arm's evidence that each rated request of the tenant takes away
BEGINNING = -np.inf  # start of an arm's first epoch


@dataclass(frozen=True, slots=True)
class Score:
    """A reward in [0, 1], and its weight."""

    reward: float
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Rating:
    """One feedback event on one decision that this arm answered, with what the decision logged.

    Args:
        decided_at: time of the decision, in seconds since any fixed moment.
        n_rated: the tenant's rated requests, of all arms, at the decision.
        n_changes: the arm's changes at the decision: a prediction from before a change does not test the
            arm after it.
        predicted: reward that each expert and their mixture predicted; None if no prediction was logged, and
            for implicit signals, which only count in the sums.
        deviation: predicted standard deviation of the reward around the mixture's prediction.
        score: the new score; None withdraws the earlier one.
        replaces: the score that counted before, if any.
        is_first: whether this arm's answer to this decision was never scored before.
        rater: who gave the new score; None: nobody who could confirm or deny a change, as with signals.
    """

    decided_at: float
    n_rated: float
    n_changes: int
    predicted: tuple[float, ...] | None
    deviation: float
    score: Score | None
    replaces: Score | None = None
    is_first: bool = True
    rater: str | None = ""


@dataclass(frozen=True, slots=True)
class RatedSums:
    """Weight and weighted rewards of rated requests, in whole grains: sums are exact in any order."""

    n: float = 0.0
    reward_sum: float = 0.0

    @classmethod
    def of(cls, score: Score | None) -> "RatedSums":
        return cls() if score is None else cls(grained(score.weight), grained(score.weight * score.reward))

    def __add__(self, other: "RatedSums") -> "RatedSums":
        return RatedSums(self.n + other.n, self.reward_sum + other.reward_sum)

    def __sub__(self, other: "RatedSums") -> "RatedSums":
        return RatedSums(self.n - other.n, self.reward_sum - other.reward_sum)

    def times(self, share: float) -> "RatedSums":
        return self if share == 1.0 else RatedSums(grained(share * self.n), grained(share * self.reward_sum))


@dataclass(frozen=True, slots=True)
class Epoch:
    """The decisions made after `started_at`, and their ratings."""

    started_at: float = BEGINNING
    rated: RatedSums = RatedSums()

    def counting(self, decided_at: float, change: RatedSums) -> "Epoch":
        return Epoch(self.started_at, self.rated + change) if decided_at > self.started_at else self


@dataclass(frozen=True, slots=True)
class Side:
    """One side of the CUSUM: its statistic, and the epoch that begins where it was last 0.

    Args:
        shares: what the raters gave the statistic since then.
    """

    statistic: float = 0.0
    since: Epoch = Epoch()
    shares: Shares = ()

    def counting(self, decided_at: float, change: RatedSums) -> "Side":
        return replace(self, since=self.since.counting(decided_at, change))

    def moved(
        self, rating: Rating, score: Score, surprise: float, newest: float, largest_share: float
    ) -> "Side":
        """This side after one more surprise; no rater's share exceeds the largest one."""
        shock = score.weight * (surprise - DRIFT)
        shares, rater = dict(self.shares), rating.rater or ""
        shares[rater] = shares.get(rater, 0.0) + shock
        excess = sum(max(share - largest_share, 0.0) for share in shares.values())
        statistic = self.statistic + shock - excess
        if statistic <= 0:
            return Side(since=Epoch(newest))
        capped = {rater: min(share, largest_share) for rater, share in shares.items()}
        return Side(statistic, self.since, largest(capped))

    def alarms(self, *, is_alone: bool) -> bool:
        """Whether the arm has changed."""
        return self.statistic > ALARM and (self.since.rated.n >= LEAST_ALONE or not is_alone)


@dataclass(frozen=True, slots=True)
class ArmHistory:
    """The history of one arm of one tenant.

    Args:
        epoch: since the last change; ratings of earlier decisions no longer count.
        n_changes: changes detected so far.
        n_predicted: weight of rated requests with a logged prediction.
        squared_errors: per prediction, sum of weight (reward - predicted)^2.
        rise, fall: the two sides of the CUSUM.
        newest: `decided_at` of the latest rated decision.
        n_rated: the tenant's rated requests at that decision; a fallen arm's epoch has faded until then.
        is_fallen: whether the last change was for the worse.
        fallen_at: the tenant's rated requests when it fell; what is rated later fades from here on.
        raters: who rated its answers lately.
    """

    epoch: Epoch = Epoch()
    n_changes: int = 0
    n_predicted: float = 0.0
    squared_errors: tuple[float, ...] = (0.0,) * N_PREDICTIONS
    rise: Side = Side()
    fall: Side = Side()
    newest: float = BEGINNING
    n_rated: float = 0.0
    is_fallen: bool = False
    fallen_at: float = 0.0
    raters: Raters = NO_RATERS

    def faded(self, n_rated: float) -> RatedSums:
        """The epoch's sums after so many rated requests of the tenant.

        The evidence of a fallen arm fades for good, so that the arm is tried again and its answers after a
        recovery outweigh those before. Other evidence does not fade.
        """
        return self.epoch.rated.times(self._kept(self.n_rated, n_rated))

    def _kept(self, since: float, n_rated: float) -> float:
        if not self.is_fallen:
            return 1.0
        return float((1.0 - FADE) ** max(n_rated - max(since, self.fallen_at), 0.0))


def learn(history: ArmHistory, rating: Rating) -> ArmHistory:
    """Add one feedback event; start a new epoch if the arm's rewards have drifted from the predictions.

    Raises:
        ValueError: the number of predictions is wrong, or the deviation is not above 0.

    Source: Page (1954), Continuous Inspection Schemes, Biometrika 41.
    """
    if rating.predicted is not None and (len(rating.predicted) != N_PREDICTIONS or rating.deviation <= 0):
        raise ValueError(f"need {N_PREDICTIONS} predictions and a deviation above 0, got {rating}")
    change = RatedSums.of(rating.score) - RatedSums.of(rating.replaces)
    n_rated = max(history.n_rated, rating.n_rated)
    faded = Epoch(history.epoch.started_at, history.faded(n_rated))
    counted = replace(
        history,
        epoch=faded.counting(rating.decided_at, change.times(history._kept(rating.n_rated, n_rated))),
        rise=history.rise.counting(rating.decided_at, change),
        fall=history.fall.counting(rating.decided_at, change),
        newest=max(history.newest, rating.decided_at),
        n_rated=n_rated,
    )
    if rating.rater is not None and rating.score is not None and rating.is_first:
        counted = replace(counted, raters=history.raters.after(rating.rater, rating.decided_at))
    if rating.predicted is None:
        return counted
    old, new = (_squares(rating.predicted, score) for score in (rating.replaces, rating.score))
    counted = replace(
        counted,
        n_predicted=history.n_predicted + change.n,
        squared_errors=tuple(s + b - a for s, a, b in zip(history.squared_errors, old, new, strict=True)),
    )
    if rating.score is None or not rating.is_first:
        return counted
    if rating.n_changes != history.n_changes:
        return counted
    surprise = (rating.score.reward - rating.predicted[-1]) / rating.deviation
    return _watch(counted, rating, rating.score, min(max(surprise, -LARGEST_SHOCK), LARGEST_SHOCK))


def grained(value: float) -> float:
    """Round to a whole number of grains, so that sums are exact."""
    return round(value / MICRO_GRAIN) * MICRO_GRAIN


def _squares(predicted: tuple[float, ...], score: Score | None) -> tuple[float, ...]:
    if score is None:
        return (0.0,) * len(predicted)
    return tuple(grained(score.weight * (score.reward - p) ** 2) for p in predicted)


def _watch(history: ArmHistory, rating: Rating, score: Score, surprise: float) -> ArmHistory:
    is_alone = not history.raters.are_several
    largest_share = np.inf if is_alone else LARGEST_SHARE
    rise = history.rise.moved(rating, score, surprise, history.newest, largest_share)
    fall = history.fall.moved(rating, score, -surprise, history.newest, largest_share)
    is_fallen = fall.alarms(is_alone=is_alone)
    if not (is_fallen or rise.alarms(is_alone=is_alone)):
        return replace(history, rise=rise, fall=fall)
    restarted = Side(since=Epoch(history.newest))
    return replace(
        history,
        epoch=fall.since if is_fallen else rise.since,
        n_changes=history.n_changes + 1,
        rise=restarted,
        fall=restarted,
        is_fallen=is_fallen,
        fallen_at=history.n_rated if is_fallen else 0.0,
    )
