"""Trust earned from errors: which opinion on a neighbourhood to follow, and how firmly to hold a belief."""

import numpy as np

from bandit.arrays import Floats

# Opinions on how an arm deviates near a query: it does not; what its neighbours say, shrunk with 5
# pseudo-observations; the same with 20.
LOCAL_SHRINKAGE = np.array([[5.0], [20.0]])
PRIOR_WEIGHTS = np.array([0.25, 0.375, 0.375])
N_EXPERTS = PRIOR_WEIGHTS.size
NOISE_PRIOR = 0.25, 20.0  # variance of one reward around an opinion, and the observations this stands for
RESIDUAL_PRIOR = 0.15, 10.0  # the same of one arm's rewards around the mixture
SHARPNESS = 4.0
SHARPNESS_RANGE = (2.0, 30.0)


def expert_weights(squared_errors: Floats, n: float) -> Floats:
    """Weigh opinions by how well they foretold.

        W_e ~ prior_e exp(-S_e / (2 s2)),   S_e: sum of squared errors of opinion e

    with s2 the best opinion's mean squared error. This is Bayes' rule for normal errors.

    Args:
        squared_errors: shape (n_opinions,).
        n: observations in them.

    Returns:
        Shape (n_opinions,), summing to 1.
    """
    variance, mass = NOISE_PRIOR
    s2 = (float(squared_errors.min()) + variance * mass) / (n + mass)
    weights = PRIOR_WEIGHTS * np.exp((squared_errors.min() - squared_errors) / (2.0 * s2))
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def residual_variance(squared_errors: Floats, n: Floats) -> Floats:
    """Estimate the variance of each arm's reward around what is foretold; shapes (n_arms,)."""
    variance, mass = RESIDUAL_PRIOR
    return np.asarray((squared_errors + variance * mass) / (n + mass), dtype=np.float64)


def sharpness(mean: Floats, variance: Floats) -> Floats:
    """How many Beta pseudo-counts one observation is worth; shapes (n_arms,).

    Where context explains part of a reward, less than mean (1 - mean) of its variance is left, and each
    observation says more. The factor 4 narrows the posterior beyond that: exploration by a posterior of full
    width costs more than it finds.
    """
    return np.clip(SHARPNESS * mean * (1.0 - mean) / variance, *SHARPNESS_RANGE)
