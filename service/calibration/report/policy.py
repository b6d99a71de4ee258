"""Ways to choose models for prompts, learned from every model's answers to other prompts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bandit.arrays import Floats, Ints
from service.calibration.report.intervals import standard_error2
from service.calibration.report.learner import HeldOut, Learner, folds
from service.calibration.report.table import AnswerTable

N_FOLDS = 10
LEVEL = 1.96  # standard errors within which two models are level
SLACK = 0.1  # largest share of the dollars by which equal dollars may differ while the price is chosen
# Prices of dollars that are tried, in quality per mean dollars of an answer.
PRICES = np.concatenate([[0.0], np.geomspace(1e-3, 1e3, 61)])


def best_single(table: AnswerTable) -> int:
    """The cheapest of the arms whose mean score is not clearly below the best, in paired comparison.

    Of arms that cannot be told apart the most expensive would often be the best by luck, and any way of
    choosing would seem to save.

    Source: after the 1 SE rule of Breiman, Friedman, Olshen & Stone (1984), Classification and Regression
    Trees.
    """
    weights = table.weights
    quality, cost_usd = (weights @ values / weights.sum() for values in (table.scores, table.costs_usd))
    best = int(quality.argmax())
    losses = table.scores[:, best, None] - table.scores
    errors = np.sqrt([standard_error2(losses[:, arm], weights) for arm in range(quality.size)])
    is_level = quality[best] - quality <= LEVEL * errors
    return int(np.where(is_level, cost_usd, np.inf).argmin())


@dataclass(frozen=True, slots=True, eq=False)
class Policies:
    """What a set of answers recommends: one arm for all prompts, or what the learner chooses at a price.

    Args:
        single: the best single arm.
        equal_quality: the price of dollars at which choices cost the least without less quality than the
            single arm's; None: at no price they cost less.
        equal_dollars: the price at which choices are best for the dollars of the single arm; None: at no
            price they are better.
    """

    learner: Learner
    single: int
    equal_quality: float | None
    equal_dollars: float | None

    @classmethod
    def of(cls, table: AnswerTable, topic: Ints) -> Policies:
        """Learn from these answers; the prices come from folds within them.

        Quality counts as equal within one standard error, dollars within 1.96 because the single arm is the
        cheapest of several. Without that slack noise would rule out the right prices in half of all cases.
        """
        fold, single = folds(topic, N_FOLDS), best_single(table)
        errors = HeldOut.of(table, fold).squared_errors
        held_out = HeldOut.of(table, fold, errors)
        prices = PRICES / max(float(table.costs_usd.mean()), 1e-12)
        arms = np.stack([choices(held_out.reward, held_out.cost_usd, price) for price in prices])
        rows = np.arange(fold.size)
        gained = _Means.of(table.scores[rows, arms] - table.scores[:, single], table.weights)
        saved = _Means.of(table.costs_usd[:, single] - table.costs_usd[rows, arms], table.weights)
        slack_usd = np.minimum(LEVEL * saved.error, SLACK * table.costs_usd[:, single].mean())
        return cls(
            learner=Learner.of(table, errors),
            single=single,
            equal_quality=_best(prices, wanted=saved.mean, kept=gained.mean + gained.error),
            equal_dollars=_best(prices, wanted=gained.mean, kept=saved.mean + slack_usd),
        )

    def choose(self, table: AnswerTable, row: int) -> tuple[int, int, int]:
        """The arms for a prompt of any table with the same arms: single, equal quality, equal dollars."""
        beliefs = self.learner.about(table, row)
        reward, cost_usd = beliefs.posterior.mean, beliefs.expected_cost_usd
        equal_quality, equal_dollars = (
            self.single if price is None else int(choices(reward, cost_usd, price))
            for price in (self.equal_quality, self.equal_dollars)
        )
        return self.single, equal_quality, equal_dollars


@dataclass(frozen=True, slots=True, eq=False)
class _Means:
    """Weighted means over prompts and their standard errors, shape (n_prices,)."""

    mean: Floats
    error: Floats

    @classmethod
    def of(cls, values: Floats, weights: Floats) -> _Means:
        """Summarise values of shape (n_prices, n_prompts)."""
        errors = np.sqrt([standard_error2(row, weights) for row in values])
        return cls(values @ weights / weights.sum(), errors)


def choices(reward: Floats, cost_usd: Floats, price: float) -> Ints:
    """The arms of the largest utility, reward - price * dollars; shapes (..., n_arms) to (...)."""
    return np.asarray((reward - price * cost_usd).argmax(axis=-1), dtype=np.int64)


def _best(prices: Floats, wanted: Floats, kept: Floats) -> float | None:
    """The price with the most of what is wanted among those that lose nothing of what is kept."""
    allowed = np.where(kept >= 0, wanted, -np.inf)
    best = int(allowed.argmax())
    return float(prices[best]) if allowed[best] > 0 else None
