"""The policies that every claim is compared with."""

from dataclasses import dataclass

import numpy as np

from bandit.arrays import Floats
from bandit.beliefs import Beliefs
from bandit.knobs import Knobs
from bandit.policy import explore
from bandit.utility import utility_terms


@dataclass(frozen=True, slots=True)
class Uniform:
    """Every arm alike."""

    def probabilities(self, beliefs: Beliefs) -> Floats:
        return np.full(beliefs.bonus.size, 1 / beliefs.bonus.size)


@dataclass(frozen=True, slots=True)
class AlwaysOneArm:
    """The same arm for every query."""

    arm: int

    def probabilities(self, beliefs: Beliefs) -> Floats:
        chances = np.zeros(beliefs.bonus.size)
        chances[self.arm] = 1.0
        return chances


@dataclass(frozen=True, slots=True)
class EpsilonGreedy:
    """The arm of largest expected utility, and any other at a fixed rate."""

    knobs: Knobs
    epsilon: float

    def probabilities(self, beliefs: Beliefs) -> Floats:
        total = utility_terms(beliefs, self.knobs).total
        best = total == total.max()
        return explore(best / np.count_nonzero(best), self.epsilon, np.ones(total.size, dtype=np.bool_))
