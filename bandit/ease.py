"""Ease: how much better or worse than usual any arm does on requests like this one.

A linear function of the context, fitted to the rewards of all arms together. It predicts and does not choose:
taken out of the rewards it leaves less noise in what is compared between arms.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import linalg

from bandit.arrays import Floats, Ints, Vectors

N_DIRECTIONS = 24  # principal components of the contexts that it may depend on
RIDGE = 3.0  # variance of one reward over that of difficulty, as far as it is believed beforehand
LEAST_RATED = 32  # requests, below which nothing is fitted
MOST_RATED = 2000  # newest requests that it is fitted to
ALIKE = 1e-3  # typical distance of contexts from their mean, below which nothing tells them apart
GROWTH = 0.25  # of the rated requests, after which it is worth fitting again


@dataclass(frozen=True, slots=True, eq=False)
class Ease:
    """d(x) = (x - centre) . slope, in units of reward, above 0 where requests are easier than usual.

    Args:
        centre: shape (d,), mean context.
        slope: shape (d,).
    """

    centre: Vectors
    slope: Floats

    @classmethod
    def fit(cls, contexts: Vectors, group: Ints, rewards: Floats, weights: Floats) -> Self:
        """Fit it to rated requests.

            r_i = g_{group i} + f_i . beta + noise,   beta ~ N(0, 1 / RIDGE),   |f_i|^2 = 1 on average

        where f_i are the coordinates of context i along the 24 directions in which the contexts differ most.
        Each group has a level of its own, about which nothing is assumed, so that what is learned never rests
        on one arm being better than another.

        Args:
            contexts: shape (n, d), n >= 2; where all are alike the slope is 0.
            group: shape (n,), whatever has a level of its own: an arm, or an arm before it changed.
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
        """Ease at contexts of shape (n, d) or (d,); shape (n,) or ()."""
        return np.asarray((contexts - self.centre) @ self.slope, dtype=np.float64)


def is_due(n_rated: float, n_fitted: float) -> bool:
    """Say whether enough was rated since the last fit, when there were `n_fitted` ratings."""
    return n_rated >= max(LEAST_RATED, n_fitted + GROWTH * min(n_fitted, MOST_RATED))


def _principal(deviations: Vectors, k: int) -> Floats:
    """The k directions of largest variance, shape (d, k)."""
    d = deviations.shape[1]
    k = min(k, d)
    _, vectors = linalg.eigh(deviations.T @ deviations, subset_by_index=(d - k, d - 1))
    return np.asarray(vectors, dtype=np.float64)


def _within(values: Floats, group: Ints, weights: Floats) -> Floats:
    """Values minus the weighted mean of their group; values: shape (n, k)."""
    _, member = np.unique(group, return_inverse=True)
    total = np.bincount(member, weights)
    sums = np.zeros((total.size, values.shape[1]))
    np.add.at(sums, member, values * weights[:, None])
    return values - (sums / total[:, None])[member]
