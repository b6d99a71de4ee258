"""Utility: quality, speed and dollars under the weights."""

import numpy as np

from bandit.arrays import Floats, columns
from bandit.beliefs import Beliefs
from bandit.knobs import Knobs

UNNOTICED_S = 0.5  # seconds below which nobody notices much of a difference
# Share of the standard error of dollars and seconds that is explored; more costs more than it finds.
EXPLORED_ERROR = 0.22


@columns
class UtilityTerms:
    """The terms of each arm's utility at its expected reward; arrays have shape (n_arms,)."""

    quality: Floats
    bonus: Floats
    speed: Floats
    cost: Floats
    spend: Floats  # the budget's price of this request's dollars
    error: Floats  # standard error of speed, cost and spend that is explored
    offset: Floats  # the sum of all terms but quality, the one term that is sampled
    total: Floats


def utility_terms(beliefs: Beliefs, knobs: Knobs, price: float = 0.0) -> UtilityTerms:
    """Compute the utility terms of each arm from the beliefs.

        utility_a = FW (reward_a + bonus_a) + LW speed_a + CW cost_a - price dollars_a / budget

    Speed and cost are scaled into [0, 1] among these arms: cost = dollars / max dollars and
    speed = 1 - latency / (max latency + 0.5 s), so that hundredths of a second count for little. A weight of
    0 removes its term exactly.
    """
    dollars, seconds, known = beliefs.expected_cost_usd, beliefs.expected_latency_s, beliefs.prior_state
    of_second = knobs.latency_weight / (float(seconds.max()) + UNNOTICED_S)
    of_dollar, of_spent = _of_dollar(dollars, knobs), _of_spent(knobs, price)
    quality = knobs.feedback_weight * beliefs.posterior.mean
    bonus = knobs.feedback_weight * beliefs.bonus
    speed, cost, spend = knobs.latency_weight - of_second * seconds, of_dollar * dollars, of_spent * dollars
    offset = bonus + speed + cost + spend
    errors = np.hypot((of_dollar + of_spent) * known.cost_usd_error, of_second * known.latency_s_error)
    return UtilityTerms(
        quality=quality,
        bonus=bonus,
        speed=speed,
        cost=cost,
        spend=spend,
        error=EXPLORED_ERROR * errors,
        offset=offset,
        total=quality + offset,
    )


def price_in_utility(usd: float, beliefs: Beliefs, knobs: Knobs, price: float = 0.0) -> float:
    """Compute the utility that extra dollars cost an arm, by the same weights and budget."""
    return usd * (0.0 - _of_dollar(beliefs.expected_cost_usd, knobs) - _of_spent(knobs, price))


def _of_dollar(dollars: Floats, knobs: Knobs) -> float:
    """Return what a dollar adds to the utility by the weight of dollars, at most 0."""
    largest = float(dollars.max())
    return knobs.cost_weight / largest if largest > 0 else 0.0


def _of_spent(knobs: Knobs, price: float) -> float:
    """Return what a dollar adds to the utility by the price of the budget, at most 0."""
    budget = knobs.budget_usd_per_request
    return 0.0 if budget is None else -price / budget


def speed(latency_s: Floats) -> Floats:
    """Return 1 - latency / (max latency + 0.5 s), in (0, 1]; shapes (n_arms,)."""
    return 1.0 - latency_s / (float(latency_s.max()) + UNNOTICED_S)
