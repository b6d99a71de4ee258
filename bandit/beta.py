"""Beta: pseudo-counts over one arm's mean reward, vectorised over arms."""

from dataclasses import dataclass

import numpy as np
from scipy import special

from bandit.arrays import Floats, within

INSIDE = 1e-300, 1.0 - 1e-16  # where densities are computed; at 0 and 1 one may be infinite

LEAST_MASS = 0.3  # of a belief that was widened


@dataclass(frozen=True, slots=True, eq=False)
class Beta:
    """The belief about each arm's mean reward.

    Args:
        alpha: shape (n_arms,), pseudo-count of reward, above 0.
        beta: shape (n_arms,), pseudo-count of missing reward, above 0.
    """

    alpha: Floats
    beta: Floats

    @classmethod
    def from_mean(cls, mean: Floats, mass: Floats) -> "Beta":
        """Return the belief with this mean, in (0, 1), and the mass of `mass` observations."""
        return cls(alpha=mean * mass, beta=(1 - mean) * mass)

    @property
    def mass(self) -> Floats:
        return self.alpha + self.beta

    @property
    def mean(self) -> Floats:
        return self.alpha / self.mass

    @property
    def standard_deviation(self) -> Floats:
        mass = self.mass
        mean = self.alpha / mass
        return np.sqrt(mean * (1 - mean) / (mass + 1))

    def widened(self, deviation: Floats) -> "Beta":
        """Return the belief with the same mean and a variance that is larger by deviation^2, shape (n_arms,).

        Its mass does not fall below LEAST_MASS: a Beta cannot vary more than a coin.
        """
        mass, mean = self.mass, self.mean
        variance = mean * (1 - mean)
        spread = np.sqrt(variance / (mass + 1))
        widened = variance / (spread**2 + deviation**2) - 1
        return Beta.from_mean(mean, np.minimum(np.maximum(widened, LEAST_MASS), mass))

    def cdf(self, grid: Floats) -> Floats:
        """Compute the probability that each arm's mean reward is at most `grid`, to single precision.

        Single precision takes half the time of double, and a decision spends most of its time here.

        Args:
            grid: shape (n_arms, n_points), clipped to [0, 1].

        Returns:
            Shape (n_arms, n_points).
        """
        alpha, beta, clipped = (
            array.astype(np.float32)
            for array in (self.alpha[:, None], self.beta[:, None], within(grid, 0.0, 1.0))
        )
        return special.betainc(alpha, beta, clipped).astype(np.float64)

    def pdf(self, grid: Floats) -> Floats:
        """Compute the density of each arm's mean reward at `grid`, both of shape (n_arms, n_points).

        The density at 0 and at 1 is that of the nearest inner point.
        """
        alpha, beta, inside = self.alpha[:, None], self.beta[:, None], within(grid, *INSIDE)
        log_density = (alpha - 1.0) * np.log(inside) + (beta - 1.0) * np.log1p(-inside)
        return np.asarray(np.exp(log_density - special.betaln(alpha, beta)), dtype=np.float64)
