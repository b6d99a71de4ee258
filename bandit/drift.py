"""The history of one arm: a fold over its feedback, in commit order, that notices when the arm changes.

    history' = learn(history, rating)

Sums stay sums: late, revised and withdrawn feedback adds to, or takes from, whatever its decision counts in.
Only the two cumulative statistics depend on the order, so the log in commit order gives the same history.
"""

from dataclasses import dataclass, replace

import numpy as np

from bandit.evidence import MICRO_GRAIN
from bandit.experts import N_EXPERTS

N_PREDICTIONS = N_EXPERTS + 1  # each opinion, and their mixture
LARGEST_SHOCK = 3.0  # standard deviations of one surprise that count
DRIFT = 0.5  # of them that a surprise must exceed to speak of a change
ALARM = 14.0
BEGINNING = -np.inf


@dataclass(frozen=True, slots=True)
class Score:
    """A reward in [0, 1], and how far it is trusted."""

    reward: float
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Rating:
    """One feedback on one decision that this arm answered, with what the decision had logged.

    Args:
        decided_at: when, in seconds since any moment; later decisions have larger ones.
        n_rated: the tenant's rated requests, of all arms, when it was decided.
        n_changes: the arm's, when it was decided: a prediction from before a change says nothing of another.
        predicted: expected reward by each opinion and by their mixture; None where nothing was weighed, and
            of implicit signals, which then are in the tallies only.
        deviation: standard deviation expected of the reward around the mixture's prediction.
        score: what was said; None withdraws.
        replaces: what stood before, if anything did.
        is_first: whether nobody ever scored this arm for this decision before.
    """

    decided_at: float
    n_rated: float
    n_changes: int
    predicted: tuple[float, ...] | None
    deviation: float
    score: Score | None
    replaces: Score | None = None
    is_first: bool = True


@dataclass(frozen=True, slots=True)
class RatedSums:
    """Weight and weighted rewards of rated requests; kept in grains, so that adding is exact in any order."""

    n: float = 0.0
    reward_sum: float = 0.0

    @classmethod
    def of(cls, score: Score | None) -> "RatedSums":
        return cls() if score is None else cls(grained(score.weight), grained(score.weight * score.reward))

    def __add__(self, other: "RatedSums") -> "RatedSums":
        return RatedSums(self.n + other.n, self.reward_sum + other.reward_sum)

    def __sub__(self, other: "RatedSums") -> "RatedSums":
        return RatedSums(self.n - other.n, self.reward_sum - other.reward_sum)


@dataclass(frozen=True, slots=True)
class Epoch:
    """Decisions made after `started_at`, and what was said of them."""

    started_at: float = BEGINNING
    rated: RatedSums = RatedSums()

    def counting(self, decided_at: float, change: RatedSums) -> "Epoch":
        return replace(self, rated=self.rated + change) if decided_at > self.started_at else self


@dataclass(frozen=True, slots=True)
class Side:
    """One side of the CUSUM: its statistic, and the epoch that begins where it last stood at 0."""

    statistic: float = 0.0
    since: Epoch = Epoch()

    def moved(self, shock: float, newest: float) -> "Side":
        statistic = max(0.0, self.statistic + shock)
        return Side(statistic, self.since if statistic > 0 else Epoch(newest))


@dataclass(frozen=True, slots=True)
class ArmHistory:
    """What a service keeps of one arm of one tenant.

    Args:
        epoch: since the last change; what was said of earlier decisions no longer counts.
        n_changes: noticed so far.
        n_predicted: weight of rated requests with a logged prediction.
        squared_errors: per prediction, sum of weight (reward - predicted)^2.
        rise, fall: the two sides of the CUSUM.
        newest: `decided_at` of the latest decision that was rated.
        n_rated: the tenant's rated requests when that was decided.
        is_fallen: whether the last change was for the worse.
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


def learn(history: ArmHistory, rating: Rating) -> ArmHistory:
    """Count one feedback; open a new epoch when the arm's rewards have drifted from what was expected.

    Raises:
        ValueError: the number of predictions is wrong, or the deviation is not above 0.

    Source: Page (1954), Continuous Inspection Schemes, Biometrika 41.
    """
    if rating.predicted is not None and (len(rating.predicted) != N_PREDICTIONS or rating.deviation <= 0):
        raise ValueError(f"need {N_PREDICTIONS} predictions and a deviation above 0, got {rating}")
    change = RatedSums.of(rating.score) - RatedSums.of(rating.replaces)
    counted = replace(
        history,
        epoch=history.epoch.counting(rating.decided_at, change),
        rise=replace(history.rise, since=history.rise.since.counting(rating.decided_at, change)),
        fall=replace(history.fall, since=history.fall.since.counting(rating.decided_at, change)),
        newest=max(history.newest, rating.decided_at),
        n_rated=max(history.n_rated, rating.n_rated),
    )
    if rating.predicted is None:
        return counted
    was, now = (_squares(rating.predicted, score) for score in (rating.replaces, rating.score))
    counted = replace(
        counted,
        n_predicted=history.n_predicted + change.n,
        squared_errors=tuple(s + b - a for s, a, b in zip(history.squared_errors, was, now, strict=True)),
    )
    if rating.score is None or not rating.is_first or rating.n_changes != history.n_changes:
        return counted
    surprise = (rating.score.reward - rating.predicted[-1]) / rating.deviation
    return _watch(counted, min(max(surprise, -LARGEST_SHOCK), LARGEST_SHOCK), rating.score.weight)


def grained(value: float) -> float:
    """Round to a grain, so that sums of it are exact."""
    return round(value / MICRO_GRAIN) * MICRO_GRAIN


def _squares(predicted: tuple[float, ...], score: Score | None) -> tuple[float, ...]:
    if score is None:
        return (0.0,) * len(predicted)
    return tuple(grained(score.weight * (score.reward - p) ** 2) for p in predicted)


def _watch(history: ArmHistory, surprise: float, weight: float) -> ArmHistory:
    rise = history.rise.moved(weight * (surprise - DRIFT), history.newest)
    fall = history.fall.moved(weight * (-surprise - DRIFT), history.newest)
    if max(rise.statistic, fall.statistic) <= ALARM:
        return replace(history, rise=rise, fall=fall)
    is_fallen = fall.statistic > ALARM
    afresh = Side(since=Epoch(history.newest))
    return replace(
        history,
        epoch=fall.since if is_fallen else rise.since,
        n_changes=history.n_changes + 1,
        rise=afresh,
        fall=afresh,
        is_fallen=is_fallen,
    )
