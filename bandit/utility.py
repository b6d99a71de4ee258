"""Utility: quality, speed and dollars under the weights."""

from dataclasses import dataclass

import numpy as np

from bandit.arrays import Floats
from bandit.beliefs import Beliefs
from bandit.knobs import Knobs

UNNOTICED_S = 0.5  # seconds below which nobody notices much of a difference
# Share of the standard error of dollars and seconds that is explored; more costs more than it finds.
EXPLORED_ERROR = 0.22


@dataclass(frozen=True, slots=True, eq=False)
class UtilityTerms:
    """The terms of each arm's utility at its expected reward; arrays have shape (n_arms,)."""

    quality: Floats
    bonus: Floats
    speed: Floats
    cost: Floats
    spend: Floats  # the budget's price of this request's dollars
    error: Floats  # standard error of speed, cost and spend that is explored

    @property
    def offset(self) -> Floats:
        """The sum of all terms but quality, the one term that is sampled."""
        return self.bonus + self.speed + self.cost + self.spend

    @property
    def total(self) -> Floats:
        return self.quality + self.offset


def utility_terms(beliefs: Beliefs, knobs: Knobs, price: float = 0.0) -> UtilityTerms:
    """Compute the utility terms of each arm from the beliefs.

        utility_a = FW (reward_a + bonus_a) + LW speed_a + CW cost_a - price dollars_a / budget

    Speed and cost are scaled into [0, 1] among these arms: cost = dollars / max dollars and
    speed = 1 - latency / (max latency + 0.5 s), so that hundredths of a second count for little. A weight of
    0 removes its term exactly.
    """
    dollars = beliefs.expected_cost_usd
    budget, known = knobs.budget_usd_per_request, beliefs.prior_state
    of_dollar = _price_of_dollar(dollars, knobs, price)
    of_second = knobs.latency_weight / (float(beliefs.expected_latency_s.max()) + UNNOTICED_S)
    return UtilityTerms(
        quality=knobs.feedback_weight * beliefs.posterior.mean,
        bonus=knobs.feedback_weight * beliefs.bonus,
        speed=knobs.latency_weight * speed(beliefs.expected_latency_s),
        cost=knobs.cost_weight * _share_of_largest(dollars),
        spend=np.zeros_like(dollars) if budget is None else -price * dollars / budget,
        error=EXPLORED_ERROR * np.hypot(of_dollar * known.cost_usd_error, of_second * known.latency_s_error),
    )


def price_in_utility(usd: float, beliefs: Beliefs, knobs: Knobs, price: float = 0.0) -> float:
    """Compute the utility that extra dollars cost an arm, by the same weights and budget."""
    return usd * _price_of_dollar(beliefs.expected_cost_usd, knobs, price)


def _price_of_dollar(dollars: Floats, knobs: Knobs, price: float) -> float:
    largest, budget = float(dollars.max()), knobs.budget_usd_per_request
    by_weight = -knobs.cost_weight / largest if largest > 0 else 0.0
    return by_weight + (0.0 if budget is None else price / budget)


def speed(latency_s: Floats) -> Floats:
    """Return 1 - latency / (max latency + 0.5 s), in (0, 1]; shapes (n_arms,)."""
    return 1.0 - latency_s / (float(latency_s.max()) + UNNOTICED_S)


def _share_of_largest(values: Floats) -> Floats:
    largest = values.max()
    return values / largest if largest > 0 else np.zeros_like(values)
