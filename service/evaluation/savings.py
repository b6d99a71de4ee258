"""Savings of routing: assumed by a price list, and measured against held-out requests."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from bandit.welch import Difference, Sample, difference
from service.domain.answer import Usage
from service.domain.arm import Price
from service.domain.traffic import TrafficTotals
from service.domain.usage import cost_usd

CONFIDENCE = 0.95
MIN_SAMPLE = 30  # of each side; an interval from fewer would be unreliable


@dataclass(frozen=True, slots=True)
class Assumed:
    """Dollars spent, and the price of a baseline for the same tokens."""

    spent_usd: Decimal
    baseline_usd: Decimal

    @property
    def saved_usd(self) -> Decimal:
        return self.baseline_usd - self.spent_usd

    @property
    def saved_share(self) -> Decimal | None:
        """Share of the baseline's dollars; None if the baseline is free."""
        return self.saved_usd / self.baseline_usd if self.baseline_usd else None


def assumed_savings(totals: TrafficTotals, baseline: Price) -> Assumed:
    """Price the tokens of the last call of each request at the baseline."""
    tokens = Usage(
        totals.prompt_tokens,
        totals.cached_tokens,
        totals.completion_tokens,
        cache_write_tokens=totals.cache_write_tokens,
    )
    return Assumed(totals.cost_usd, cost_usd(tokens, baseline))


@dataclass(frozen=True, slots=True)
class Moments:
    """A sample as exact sums."""

    n: int
    total: Decimal
    squares: Decimal

    @property
    def mean(self) -> float | None:
        return float(Fraction(self.total) / self.n) if self.n else None

    def sample(self) -> Sample:
        """Mean and variance of at least two values, in fractions: floats would lose a small variance."""
        mean = Fraction(self.total) / self.n
        variance = (Fraction(self.squares) - mean * Fraction(self.total)) / (self.n - 1)
        return Sample(self.n, float(mean), float(variance))


def known_cost_usd(totals: TrafficTotals) -> Decimal | None:
    """The known dollars; None if nobody knows those of any request."""
    if totals.n_unpriced and totals.n_unpriced == totals.n_finished:
        return None
    return totals.cost_usd


def costs_of(totals: TrafficTotals) -> Moments:
    """Dollars per finished request."""
    return Moments(totals.n_finished, totals.cost_usd, totals.cost_usd_squares)


def rewards_of(totals: TrafficTotals) -> Moments:
    """Reward per rated request."""
    return Moments(totals.n_rated, totals.reward, totals.reward_squares)


@dataclass(frozen=True, slots=True)
class HoldoutDifference:
    """A difference of means, routed minus held out; or why there is none."""

    difference: Difference | None
    reason: str | None = None


def holdout_difference(routed: Moments, held_out: Moments) -> HoldoutDifference:
    """Compare routed with held-out requests of the same traffic."""
    if min(routed.n, held_out.n) < MIN_SAMPLE:
        counts = f"got {routed.n} routed and {held_out.n} held out"
        return HoldoutDifference(None, f"at least {MIN_SAMPLE} of each are needed, {counts}")
    first, second = routed.sample(), held_out.sample()
    if first.variance == second.variance == 0:
        return HoldoutDifference(None, "neither side varies, so no interval can be computed")
    return HoldoutDifference(difference(first, second, CONFIDENCE))


def cost_difference(routed: TrafficTotals, held_out: TrafficTotals) -> HoldoutDifference:
    """Compare the dollars per request.

    The requests of known cost alone would compare requests that one side chose, so one unknown cost is
    enough to say nothing.
    """
    if n_unpriced := routed.n_unpriced + held_out.n_unpriced:
        return HoldoutDifference(None, f"the cost of {n_unpriced} requests is not known")
    return holdout_difference(costs_of(routed), costs_of(held_out))
