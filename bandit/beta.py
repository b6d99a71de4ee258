"""Beta: pseudo-counts over one arm's mean reward, vectorised over arms."""

import numpy as np
from scipy import special

from bandit.arrays import Floats, Singles, columns, within

INSIDE = 1e-300, 1.0 - 1e-16  # where densities are computed; at 0 and 1 one may be infinite
LEAST_MASS = 0.3  # of a belief that was widened


@columns
class Beta:
    """The belief about each arm's mean reward.

    Args:
        mean: shape (n_arms,), in (0, 1).
        mass: shape (n_arms,), observations that it is worth, above 0: the sum of both pseudo-counts.
    """

    mean: Floats
    mass: Floats

    @classmethod
    def of_counts(cls, alpha: Floats, beta: Floats) -> "Beta":
        """Return the belief with these pseudo-counts of reward and of missing reward, above 0."""
        mass = alpha + beta
        return cls(mean=alpha / mass, mass=mass)

    @property
    def alpha(self) -> Floats:
        return self.mean * self.mass

    @property
    def beta(self) -> Floats:
        return (1.0 - self.mean) * self.mass

    @property
    def standard_deviation(self) -> Floats:
        return np.sqrt(self.mean * (1.0 - self.mean) / (self.mass + 1.0))

    def widened(self, deviation: Floats) -> "Beta":
        """Return the belief with the same mean and a variance that is larger by deviation^2, shape (n_arms,).

        Its mass does not fall below LEAST_MASS: a Beta cannot vary more than a coin.
        """
        of_coin = self.mean * (1.0 - self.mean)
        widened = of_coin / (of_coin / (self.mass + 1.0) + deviation**2) - 1.0
        return Beta(self.mean, np.minimum(np.maximum(widened, LEAST_MASS), self.mass))


def cdf_and_pdf(alpha: Floats, beta: Floats, grid: Floats) -> tuple[Singles, Floats]:
    """Compute the probability that each arm's mean reward is at most `grid`, and its density there.

    The probability is computed to single precision, which takes half the time of double: a decision spends
    most of its time here. The density at 0 and at 1 is that of the nearest inner point.

    Args:
        alpha, beta: shape (n_arms,), pseudo-counts of reward and of missing reward, above 0.
        grid: shape (n_arms, n_points), clipped to [0, 1].

    Returns:
        Two arrays of shape (n_arms, n_points).
    """
    a, b, inside = alpha[:, None], beta[:, None], within(grid, *INSIDE)
    below = special.betainc(a.astype(np.float32), b.astype(np.float32), inside.astype(np.float32))
    log_density = (a - 1.0) * np.log(inside) + (b - 1.0) * np.log1p(-inside)
    density: Floats = np.exp(log_density - special.betaln(a, b))
    return np.asarray(below, dtype=np.float32), density
