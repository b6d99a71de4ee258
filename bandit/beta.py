"""Beta: pseudo-counts over one arm's mean reward, vectorised over arms."""

from dataclasses import dataclass

import numpy as np
from scipy import special

from bandit.arrays import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Beta:
    """What is believed of each arm's mean reward.

    Args:
        alpha: shape (n_arms,), pseudo-count of reward, above 0.
        beta: shape (n_arms,), pseudo-count of missing reward, above 0.
    """

    alpha: Floats
    beta: Floats

    @classmethod
    def from_mean(cls, mean: Floats, mass: Floats) -> "Beta":
        """Believe `mean`, in (0, 1), as firmly as after `mass` observations."""
        return cls(alpha=mean * mass, beta=(1 - mean) * mass)

    @property
    def mass(self) -> Floats:
        return self.alpha + self.beta

    @property
    def mean(self) -> Floats:
        return self.alpha / self.mass

    @property
    def standard_deviation(self) -> Floats:
        mean = self.mean
        return np.sqrt(mean * (1 - mean) / (self.mass + 1))

    def cdf(self, grid: Floats) -> Floats:
        """Give the probability that each arm's mean reward is at most `grid`.

        Args:
            grid: shape (n_arms, n_points), clipped to [0, 1].

        Returns:
            Shape (n_arms, n_points).
        """
        below = special.betainc(self.alpha[:, None], self.beta[:, None], np.clip(grid, 0.0, 1.0))
        return np.asarray(below, dtype=np.float64)
