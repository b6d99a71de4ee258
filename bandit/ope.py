"""Off-policy evaluation: a policy's value, estimated from another policy's log.

Each estimator gives one term per round. The mean of the terms is the candidate's value on requests like
these, at the times when these came. The spread of the terms gives the interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np

from bandit.arrays import Floats, Ints

LARGEST_WEIGHT = 20.0  # a choice that the candidate makes more than 20 times as often has no support
LARGEST_LOST = 0.002  # largest share of the candidate's choices without support that allows an estimate
LEAST_EFFECTIVE_N = 200.0
LEAST_EFFECTIVE_SHARE = 0.01  # of the rounds
NORMAL_975 = 1.959964  # quantile of the normal distribution


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean per round and its standard error."""

    value: float
    standard_error: float

    @classmethod
    def of(cls, terms: Floats, least_variance: float = 0.0) -> "Estimate":
        """Summarise one term per round, shape (n,); `least_variance` bounds a term's variance from below."""
        variance = max(float(terms.var()), least_variance)
        return cls(float(terms.mean()), float(np.sqrt(variance / terms.size)))

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval."""
        return self.value - NORMAL_975 * self.standard_error

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval."""
        return self.value + NORMAL_975 * self.standard_error


@dataclass(frozen=True, slots=True, eq=False)
class Overlap:
    """The candidate's probabilities compared with the logged ones; arrays have shape (n,).

    Support and effective size follow from the probabilities of all arms, not from the arms drawn. So a log
    in which by chance no rare choice was drawn does not look better.

    Args:
        weight: candidate's over logged probability of the arm drawn; 0 where that choice has no support.
        kept: the candidate's probability of choices with support, which is the expected weight.
        square: the expected square of the weight.
    """

    weight: Floats
    kept: Floats
    square: Floats

    @classmethod
    def of(cls, propensities: Floats, target: Floats, arm: Ints) -> "Overlap":
        """Compare probabilities.

        Args:
            propensities: shape (n, n_arms), logged; 0 for an arm that could not be drawn.
            target: shape (n, n_arms), the candidate's.
            arm: shape (n,), drawn.

        Raises:
            ValueError: shapes differ, the log is empty, or an arm of logged probability 0 was drawn.
        """
        if propensities.shape != target.shape or propensities.shape[:1] != arm.shape:
            raise ValueError("propensities, target and arm differ in shape")
        if arm.size == 0 or not np.all(_drawn(propensities, arm) > 0):
            raise ValueError("need at least one round, every propensity in (0, 1]")
        ratio = _supported_ratio(propensities, target)
        return cls(
            weight=_drawn(ratio, arm),
            kept=(ratio * propensities).sum(axis=1),
            square=(ratio**2 * propensities).sum(axis=1),
        )

    @property
    def lost(self) -> float:
        """Share of the candidate's choices that have no support."""
        return float(1.0 - self.kept.mean())

    @property
    def effective_n(self) -> float:
        """Number of rounds of the candidate's own log with the same information, (sum E w)^2 / sum E w^2."""
        square = float(self.square.sum())
        return float(self.kept.sum()) ** 2 / square if square else 0.0

    @property
    def is_enough(self) -> bool:
        """Whether this log supports the candidate well enough for its intervals to be valid."""
        least = max(LEAST_EFFECTIVE_N, LEAST_EFFECTIVE_SHARE * self.kept.size)
        return self.lost <= LARGEST_LOST and self.effective_n >= least


@dataclass(frozen=True, slots=True, eq=False)
class Forecast:
    """One outcome as predicted before each round; arrays have shape (n,).

    Args:
        drawn: predicted for the arm drawn.
        target, logging: predicted for the candidate's choice, and for the logging policy's.
        noise: variance of the drawn arm's outcome, up to a factor common to all.
        noise_moved, square_moved: expected (w - 1)^2 times that variance, and times the squared prediction:
            the part of the spread of a difference that comes from the draw alone.
    """

    drawn: Floats
    target: Floats
    logging: Floats
    noise: Floats
    noise_moved: Floats
    square_moved: Floats

    @classmethod
    def of(
        cls, propensities: Floats, target: Floats, arm: Ints, predicted: Floats, noise: Floats
    ) -> "Forecast":
        """Summarise predictions; every array but `arm` has shape (n, n_arms)."""
        moved = (_supported_ratio(propensities, target) - 1.0) ** 2 * propensities
        return cls(
            drawn=_drawn(predicted, arm),
            target=(target * predicted).sum(axis=1),
            logging=(propensities * predicted).sum(axis=1),
            noise=_drawn(noise, arm),
            noise_moved=(moved * noise).sum(axis=1),
            square_moved=(moved * predicted**2).sum(axis=1),
        )


Columns = TypeVar("Columns", Overlap, Forecast)


def joined(parts: Sequence[Columns]) -> Columns:
    """Concatenate the rounds of several parts."""
    kind = type(parts[0])
    columns = ([getattr(part, field.name) for part in parts] for field in fields(kind))
    return kind(*(np.concatenate(column) for column in columns))


@dataclass(frozen=True, slots=True)
class Comparison:
    """The candidate's value by one estimator, and its difference to the log's."""

    candidate: Estimate
    difference: Estimate


def compare(outcomes: Floats, overlap: Overlap, forecast: Forecast) -> dict[str, Comparison]:
    """Estimate the candidate's value by each of the three estimators.

    A candidate that differs from the log only in rare choices is judged by the few rounds that drew one. If
    the log has no such round, the terms of the difference spread too little. So their variance is at least

        mean(sum_a p_a (w_a - 1)^2 k g_a),    k = sum (y - q)^2 / sum g

    with g_a the predicted noise of arm a's outcome. For plain IPS, whose terms vary with the whole outcome,
    q_a^2 is added to k g_a.

    Args:
        outcomes: shape (n,), of the arm drawn.
    """
    predicted = float(forecast.noise.sum())
    scale = float(((outcomes - forecast.drawn) ** 2).sum()) / predicted if predicted else 0.0
    least = scale * float(forecast.noise_moved.mean())
    own = forecast.logging + (outcomes - forecast.drawn)
    return {
        name: Comparison(Estimate.of(terms), Estimate.of(terms - logged, at_least))
        for name, terms, logged, at_least in (
            ("ips", ips(outcomes, overlap), outcomes, least + float(forecast.square_moved.mean())),
            ("snips", snips(outcomes, overlap), outcomes, least),
            ("doubly_robust", doubly_robust(outcomes, overlap, forecast), own, least),
        )
    }


def ips(outcomes: Floats, overlap: Overlap) -> Floats:
    """Compute the terms of inverse propensity scoring, shape (n,).

        v = sum(w * y) / sum(E w)

    E w is 1 if every choice has support; a choice without support counts like the mean of the others. The
    policy's own log gives the plain mean.

    Source: Horvitz & Thompson (1952), A Generalization of Sampling Without Replacement, JASA 47.
    """
    weighted, kept = overlap.weight * outcomes, overlap.kept
    value = weighted.sum() / kept.sum()
    return np.asarray(value + (weighted - kept * value) / kept.mean())


def snips(outcomes: Floats, overlap: Overlap) -> Floats:
    """Compute the terms of self-normalised inverse propensity scoring, shape (n,).

        v = sum(w * y) / sum(w)

    Biased by O(1/n), but within the range of the observed outcomes, unlike plain IPS. The spread is the
    delta method's.

    Source: Swaminathan & Joachims (2015), The Self-Normalized Estimator for Counterfactual Learning, NeurIPS.
    """
    weight = overlap.weight
    value = weight @ outcomes / weight.sum()
    return np.asarray(value + weight * (outcomes - value) / weight.mean())


def doubly_robust(outcomes: Floats, overlap: Overlap, forecast: Forecast) -> Floats:
    """Compute the terms of the doubly robust estimator, shape (n,): predictions plus their weighted errors.

        v = mean(q_pi + w * (y - q))

    Unbiased for any predictions, if they were made without the round's own outcome and every choice has
    support; a choice without support counts as predicted. Good predictions narrow the interval.

    Source: Dudik, Langford & Li (2011), Doubly Robust Policy Evaluation and Learning, ICML 28; for choices
    without support, Wang, Agarwal & Dudik (2017), Optimal and Adaptive Off-policy Evaluation, ICML 34.
    """
    return forecast.target + overlap.weight * (outcomes - forecast.drawn)


def _supported_ratio(propensities: Floats, target: Floats) -> Floats:
    """Divide the candidate's by the logged probability; 0 where that choice has no support."""
    supported = (target <= LARGEST_WEIGHT * propensities) & (propensities > 0)
    return np.divide(target, propensities, out=np.zeros_like(target), where=supported)


def _drawn(values: Floats, arm: Ints) -> Floats:
    return np.asarray(np.take_along_axis(values, arm[:, None], axis=1)[:, 0])
