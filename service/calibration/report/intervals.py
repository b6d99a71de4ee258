"""Intervals of means over prompts, which may have different weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from bandit.arrays import Floats

CONFIDENCE = 0.95
# Pseudo-observations of a variance of m (1 - m), the largest that scores of mean m can have.
CAUTION = 4.0
N_RESAMPLES = 2000
SEED = 20_251


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate; the true value is in [low, high] with a confidence of 95 %."""

    value: float
    low: float
    high: float

    def reaching(self, reach: float) -> Interval:
        """The interval, or a wider one whose ends are that far from the value."""
        return Interval(self.value, min(self.low, self.value - reach), max(self.high, self.value + reach))


def effective_n(weights: Floats) -> float:
    """How many prompts of equal weight tell as much, (sum w)^2 / sum w^2; Kish (1965), Survey Sampling."""
    return float(weights.sum() ** 2 / (weights**2).sum())


def quality_interval(scores: Floats, weights: Floats) -> Interval | None:
    """Wilson's interval of a mean score, with the scores' own variance; None without a score.

        n' = n / f,   f = (n V / (m (1 - m)) + 4) / (n + 4)

    For scores of 0 and 1 this is Wilson's interval; scores that vary less make it narrower. It never closes,
    not even if all scores are equal.

    Args:
        scores: shape (n,), in [0, 1].
        weights: shape (n,), above 0.

    Source: Wilson (1927), Probable Inference, JASA 22; Wedderburn (1974), Quasi-likelihood Functions,
    Biometrika 61, for the factor f.
    """
    if scores.size == 0:
        return None
    n, mean = effective_n(weights), float(np.average(scores, weights=weights))
    largest = mean * (1.0 - mean)
    variance = float(np.average((scores - mean) ** 2, weights=weights)) * n / max(n - 1.0, 1.0)
    factor = (n * variance / largest + CAUTION) / (n + CAUTION) if largest > 0 else 1.0
    size = n / factor
    z2 = _quantile(n) ** 2
    centre = (mean + z2 / (2 * size)) / (1 + z2 / size)
    reach = np.sqrt(z2 * (largest / size + z2 / (4 * size**2))) / (1 + z2 / size)
    return Interval(mean, max(float(centre - reach), 0.0), min(float(centre + reach), 1.0))


def amount_interval(amounts: Floats, weights: Floats) -> Interval | None:
    """Student's interval of a mean amount on the scale of its logarithm; None without an amount.

        m exp(+-t s),   s: standard error of m, relative to m

    Dollars and seconds are skewed: their interval reaches farther up than down. One amount has no interval:
    low is 0 and high infinite.

    Args:
        amounts: shape (n,), at least 0.
        weights: shape (n,), above 0.
    """
    if amounts.size == 0:
        return None
    n, mean = effective_n(weights), float(np.average(amounts, weights=weights))
    if mean == 0:
        return Interval(0.0, 0.0, 0.0)
    if amounts.size == 1:
        return Interval(mean, 0.0, float("inf"))
    spread = np.sqrt(standard_error2(amounts, weights)) / mean
    factor = float(np.exp(_quantile(n) * spread))
    return Interval(mean, mean / factor, mean * factor)


def standard_error2(values: Floats, weights: Floats) -> float:
    """The squared standard error of a weighted mean over prompts drawn at random, two or more."""
    share = weights / weights.sum()
    deviations = share * (values - share @ values)
    return float((deviations**2).sum() * values.size / (values.size - 1))


def resamples(n: int) -> Floats:
    """How often each of n prompts occurs in each bootstrap resample, shape (2000, n); always the same."""
    rng = np.random.default_rng(SEED)
    return rng.multinomial(n, np.full(n, 1.0 / n), size=N_RESAMPLES).astype(np.float64)


def bootstrap_interval(value: float, resampled: Floats) -> Interval:
    """The percentile interval; Efron & Tibshirani (1993), An Introduction to the Bootstrap."""
    low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(value, float(low), float(high))


def _quantile(n: float) -> float:
    """The quantile of Student's t for n prompts."""
    return float(special.stdtrit(max(n - 1.0, 1.0), (1 + CONFIDENCE) / 2))
