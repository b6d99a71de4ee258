"""Ease: how much better or worse than usual all arms do on requests like this one.

Ease is a linear function of the context, fitted to the rewards of all arms together. It does not change which
arm is best for a request. Subtracted from the rewards, it removes noise from the comparison of arms.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import linalg

from bandit.arrays import Floats, Ints, Vectors

N_DIRECTIONS = 24  # principal components of the contexts that ease depends on
RIDGE = 3.0  # prior ratio of the variance of one reward to the variance of ease
LEAST_RATED = 32  # rated requests that the first fit needs
MOST_RATED = 2000  # newest rated requests that ease is fitted to
ALIKE = 1e-3  # typical distance of contexts from their mean below which the slope is 0
GROWTH = 0.25  # growth of the rated requests after which ease is fitted again


@dataclass(frozen=True, slots=True, eq=False)
class Ease:
    """ease(x) = (x - centre) . slope, in units of reward, above 0 where requests are easier than usual.

    Args:
        centre: shape (d,), mean context.
        slope: shape (d,).
    """

    centre: Vectors
    slope: Floats

    @classmethod
    def fit(cls, contexts: Vectors, group: Ints, rewards: Floats, weights: Floats) -> Self:
        """Fit ease to rated requests.

            r_i = g_{group i} + f_i . beta + noise,   beta ~ N(0, 1 / RIDGE),   |f_i|^2 = 1 on average

        where f_i are the coordinates of context i along the 24 directions in which the contexts differ most.
        Each group has a free level g of its own, so that differences between arms do not enter the slope.

        Args:
            contexts: shape (n, d), n >= 2; if all are alike, the slope is 0.
            group: shape (n,), index of what has a level of its own: an arm, or an arm before it changed.
            rewards: shape (n,), in [0, 1].
            weights: shape (n,), above 0.

        Raises:
            ValueError: shapes differ, or there are fewer than two requests.

        Source: Hoerl & Kennard (1970), Ridge Regression, Technometrics 12.
        """
        n = contexts.shape[0]
        if n < 2 or not (group.shape == rewards.shape == weights.shape == (n,)):
            raise ValueError("need at least two contexts, each with one group, reward and weight")
        centre = contexts.mean(axis=0)
        deviations = contexts - centre
        directions = _principal(deviations, min(N_DIRECTIONS, n - 1))
        features = deviations @ directions
        scale = float(np.sqrt(np.square(features).sum(axis=1).mean()))
        if scale < ALIKE:
            return cls(centre=centre, slope=np.zeros(centre.size))
        within = _within(np.column_stack([features / scale, rewards]), group, weights)
        x, y = within[:, :-1], within[:, -1]
        penalty = RIDGE * np.eye(x.shape[1])
        beta = linalg.solve((x.T * weights) @ x + penalty, (x.T * weights) @ y, assume_a="pos")
        return cls(centre=centre, slope=directions @ beta / scale)

    def at(self, contexts: Vectors) -> Floats:
        """Compute ease at contexts of shape (n, d) or (d,); shape (n,) or ()."""
        return np.asarray((contexts - self.centre) @ self.slope, dtype=np.float64)


def is_due(n_rated: float, n_fitted: float) -> bool:
    """Return whether enough requests were rated since the last fit, which used `n_fitted` of them."""
    return n_rated >= max(LEAST_RATED, n_fitted + GROWTH * min(n_fitted, MOST_RATED))


def _principal(deviations: Vectors, k: int) -> Floats:
    """Return the k directions of largest variance, shape (d, k)."""
    d = deviations.shape[1]
    k = min(k, d)
    _, vectors = linalg.eigh(deviations.T @ deviations, subset_by_index=(d - k, d - 1))
    return np.asarray(vectors, dtype=np.float64)


def _within(values: Floats, group: Ints, weights: Floats) -> Floats:
    """Return values minus the weighted mean of their group; values: shape (n, k)."""
    _, member = np.unique(group, return_inverse=True)
    total = np.bincount(member, weights)
    sums = np.zeros((total.size, values.shape[1]))
    np.add.at(sums, member, values * weights[:, None])
    return values - (sums / total[:, None])[member]
