"""Policies give probabilities over arms; `draw` is the only place that picks one."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import numpy as np

from bandit import thompson
from bandit.arrays import Bools, Floats, columns
from bandit.beliefs import Beliefs
from bandit.knobs import Knobs
from bandit.utility import UtilityTerms, utility_terms


class Policy(Protocol):
    """Beliefs -> probabilities over arms, shape (n_arms,), summing to 1."""

    def probabilities(self, beliefs: Beliefs) -> Floats: ...


@dataclass(frozen=True, slots=True)
class Choice:
    """One arm drawn.

    Args:
        index: of the arm.
        propensity: the exact probability it was drawn with.
        uniform: the number in [0, 1) that decided, so that the draw can be repeated.
    """

    index: int
    propensity: float
    uniform: float


def draw(probabilities: Floats, rng: np.random.Generator) -> Choice:
    """Pick an arm.

    Raises:
        ValueError: a probability is negative or they do not sum to 1.
    """
    chances: list[float] = probabilities.tolist()
    cumulative = list(accumulate(chances))
    total = cumulative[-1]
    if not (min(chances) >= 0 and abs(total - 1) < 1e-9):
        raise ValueError(f"probabilities must be at least 0 and sum to 1, got {chances}")
    uniform = rng.random()
    index = bisect_right(cumulative, uniform * total)
    return Choice(index=index, propensity=chances[index], uniform=uniform)


@dataclass(frozen=True, slots=True)
class Holdout:
    """A share of requests that one arm answers regardless of the policy, to compare routing with it.

    Args:
        share: of requests, in [0, 1].
        arm: its index.
    """

    share: float
    arm: int

    def mix(self, probabilities: Floats) -> Floats:
        """Scale the policy's probabilities by 1 - share and add the share to the arm."""
        mixed = (1 - self.share) * probabilities
        mixed[self.arm] += self.share
        return mixed

    def contains(self, choice: Choice, mixed: Floats) -> bool:
        """Return whether a draw from the mixture fell into the share, the first part of the arm's interval.

        One number decides both the arm and the share, so that the draw can be repeated. The share does not
        depend on the policy.
        """
        edges = np.append(0.0, mixed.cumsum())
        is_within = choice.uniform * edges[-1] < edges[self.arm] + self.share
        return choice.index == self.arm and bool(is_within)


def stay(probabilities: Floats, utilities: Floats, incumbent: int, switching_cost: float) -> Floats:
    """Give the incumbent the probability of arms that do not beat it by more than the switching cost.

    An arm that exceeds the switching cost keeps its probability, so the propensity of the draw is exact. If
    no arm exceeds it, the incumbent has probability 1 and no draw is needed.
    """
    exceeds = utilities - utilities[incumbent] > switching_cost
    result = np.where(exceeds, probabilities, 0.0)
    result[incumbent] = 1.0 - result.sum()
    return result


def without(probabilities: Floats, tried: Sequence[int]) -> Floats:
    """Renormalise over the arms not tried yet; evenly if the policy gave none of them a probability.

    Raises:
        ValueError: every arm was tried.
    """
    remaining = np.ones(probabilities.size, dtype=np.bool_)
    remaining[list(tried)] = False
    if not remaining.any():
        raise ValueError("every arm was tried")
    result = np.where(remaining, probabilities, 0.0)
    if result.sum() == 0:
        result = remaining.astype(np.float64)
    return result / float(result.sum())


@columns
class ThompsonPolicy:
    """Choose each arm with the probability that its sampled utility is the largest.

    Args:
        knobs: the learner's.
        price: of a request-budget of dollars, in utility.
        barred: shape (n_arms,), arms that the budget rules out for this request.
        default_arm: index of the arm that replaces arms without confidence; None: it is not eligible.
    """

    knobs: Knobs
    price: float = 0.0
    barred: Bools | None = None
    default_arm: int | None = None

    def probabilities(self, beliefs: Beliefs) -> Floats:
        return self.weigh(beliefs, utility_terms(beliefs, self.knobs, self.price))

    def weigh(self, beliefs: Beliefs, terms: UtilityTerms) -> Floats:
        """Compute the probabilities from known utility terms."""
        return self.adjusted(self.chances(beliefs, terms), beliefs)

    def chances(self, beliefs: Beliefs, terms: UtilityTerms) -> Floats:
        """Compute the probability that each arm's sampled utility is the largest, shape (n_arms,).

        The doubt about dollars and seconds widens the posterior of the reward.
        """
        weight = self.knobs.feedback_weight
        posterior = beliefs.posterior.widened(terms.error / weight) if weight > 0 else beliefs.posterior
        offset = terms.offset
        if self.barred is not None:
            offset = np.where(self.barred, -np.inf, offset)
        return thompson.probabilities(posterior, weight, offset)

    def adjusted(self, chances: Floats, beliefs: Beliefs) -> Floats:
        """Apply exploration, deference to the default arm, and the floor to these probabilities."""
        allowed = np.ones(chances.size, dtype=np.bool_) if self.barred is None else ~self.barred
        chances = explore(chances, self.knobs.exploration_rate, allowed)
        if self.default_arm is not None and allowed[self.default_arm]:
            confident = beliefs.posterior.mean >= self.knobs.min_confidence_score
            if not confident.all():
                chances = defer(chances, confident, self.default_arm)
        return lift(chances, self.knobs.propensity_floor, allowed)


def explore(probabilities: Floats, rate: float, allowed: Bools) -> Floats:
    """Replace the drawn arm, at this rate, by one of the other allowed arms, each equally often."""
    if rate == 0 or (others := np.count_nonzero(allowed) - 1) == 0:
        return probabilities
    return np.where(allowed, (1 - rate) * probabilities + rate * (1 - probabilities) / others, 0.0)


def defer(probabilities: Floats, confident: Bools, default_arm: int) -> Floats:
    """Move the probability of arms without confidence to the default arm."""
    result = np.where(confident, probabilities, 0.0)
    result[default_arm] += probabilities[~confident].sum()
    return result


def lift(probabilities: Floats, floor: float, allowed: Bools) -> Floats:
    """Raise every allowed arm to the floor, at most 1 / n_allowed; the arms above it pay in proportion.

    Raising only the arms below the floor wastes less than a uniform share of exploration.
    """
    least = np.where(allowed, min(floor, 1 / np.count_nonzero(allowed)), 0.0)
    lifted = np.maximum(probabilities, least)
    total = float(lifted.sum())
    room = lifted - least
    if total <= 1.0 or not room.any():  # no arm is below the floor, or all are at it
        return lifted * (1.0 / total)
    return least + room * (1.0 - (total - 1.0) / float(room.sum()))
