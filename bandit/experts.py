"""What prediction errors teach: the weight of each expert, and the sharpness of a belief."""

import numpy as np

from bandit.arrays import Floats, within

# Three experts predict how an arm deviates from its global mean near a query: the first predicts 0, the
# others the neighbours' deviation, shrunk with 5 and with 20 pseudo-observations.
LOCAL_SHRINKAGE = np.array([[5.0], [20.0]])
PRIOR_WEIGHTS = np.array([0.25, 0.375, 0.375])
N_EXPERTS = PRIOR_WEIGHTS.size
NOISE_PRIOR = 0.25, 20.0  # prior variance of one reward around an expert's prediction, and its mass
RESIDUAL_PRIOR = 0.15, 10.0  # prior variance of one arm's rewards around the mixture, and its mass
SHARPNESS = 4.0
SHARPNESS_RANGE = (2.0, 30.0)


def expert_weights(squared_errors: Floats, n: float) -> Floats:
    """Weigh experts by the accuracy of their predictions.

        W_e ~ prior_e exp(-S_e / (2 s2)),   S_e: sum of squared errors of expert e

    with s2 the best expert's mean squared error. This is Bayes' rule for normal errors.

    Args:
        squared_errors: shape (n_experts,).
        n: observations in the sums.

    Returns:
        Shape (n_experts,), summing to 1.
    """
    variance, mass = NOISE_PRIOR
    s2 = (float(squared_errors.min()) + variance * mass) / (n + mass)
    weights = PRIOR_WEIGHTS * np.exp((squared_errors.min() - squared_errors) / (2.0 * s2))
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def residual_variance(squared_errors: Floats, n: Floats) -> Floats:
    """Estimate the variance of each arm's reward around its prediction; shapes (n_arms,)."""
    variance, mass = RESIDUAL_PRIOR
    return np.asarray((squared_errors + variance * mass) / (n + mass), dtype=np.float64)


def sharpness(mean: Floats, variance: Floats) -> Floats:
    """Compute how many Beta pseudo-counts one observation is worth; shapes (n_arms,).

        k = 4 mu (1 - mu) / V,   within [2, 30]

    Where the context explains part of a reward, its variance V is below mu (1 - mu), and each observation
    is worth more. The factor 4 narrows the posterior further: a posterior of full width spends more on
    exploration than it gains.
    """
    return within(SHARPNESS * mean * (1.0 - mean) / variance, *SHARPNESS_RANGE)
