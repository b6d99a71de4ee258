"""Credibility: what each arm's calls cost or take on average, where a few calls may mislead."""

import numpy as np

from bandit.arrays import Floats, columns

ARMS_VARIANCE = 0.2  # of an arm's mean around its prior, relative to its square
CALLS_VARIANCE = 1.0, 10.0  # of a call around its arm's mean, relative to its square, a priori; its mass
MASS_RANGE = (1.0, 200.0)  # calls that a prior mean is worth
STEADY_MASS = 10.0  # calls that the prior is worth in the means that the spread of calls is measured around
LEVEL_MASS = 0.5  # arms that the prior is worth in the level that arms share


@columns
class Means:
    """What a call of each arm costs or takes on average; arrays have shape (n_arms,).

    Args:
        mean: at least 0.
        error: standard error of the mean.
    """

    mean: Floats
    error: Floats


def credible_means(prior: Floats, n: Floats, total: Floats, squares: Floats) -> Means:
    """Combine prior means with observed calls: the more the calls of all arms differ, the less one call says.

        v    = (10 v0 + sum_a sum_i (x_i / x_a - 1)^2) / (10 + sum_a n_a)     v0 = 1, i: calls of arm a
        m    = v / 0.2,   within [1, 200]                                      calls that a prior is worth
        mean = (m p_a + total_a) / (m + n_a)
        se   = mean sqrt(0.2 m / (m + n_a))

    x_a is the arm's mean with 10 calls at its prior p_a, so that one huge call does not hide in it. The
    variance between calls is pooled over all arms, because huge calls are too rare to show it for one arm.

    Args:
        prior: shape (n_arms,), at least 0.
        n: shape (n_arms,), calls.
        total, squares: shape (n_arms,), their values summed, and the squares of these.

    Source: Bühlmann (1967), Experience Rating and Credibility, ASTIN Bulletin 4.
    """
    steady = (STEADY_MASS * prior + total) / (STEADY_MASS + n)
    seen = (steady > 0) & (n > 0)
    around = np.maximum(squares - steady * (2.0 * total - n * steady), 0.0)
    variance, mass = CALLS_VARIANCE
    spread = float((around[seen] / steady[seen] ** 2).sum())
    pooled = (mass * variance + spread) / (mass + float(n[seen].sum()))
    least, most = MASS_RANGE
    worth = min(max(pooled / ARMS_VARIANCE, least), most)
    calls = worth + n
    mean = (worth * prior + total) / calls
    return Means(mean=mean, error=mean * np.sqrt(ARMS_VARIANCE * worth / calls))


def at_shared_level(prior: Floats, n: Floats, total: Floats) -> Floats:
    """Move prior means to the level that the arms' calls show, as a factor that all arms share.

        factor = exp(sum_a z_a log(mean_a / p_a) / (sum_a z_a + 0.5)),   z_a = n_a / (n_a + 5)

    For priors that know no arm from another, such as one second for each.

    Args:
        prior: shape (n_arms,), above 0.
        n, total: shape (n_arms,), calls and their values summed.
    """
    seen = (n > 0) & (total > 0) & (prior > 0)
    weight = n[seen] / (n[seen] + CALLS_VARIANCE[0] / ARMS_VARIANCE)
    ratios = np.log(total[seen] / (n[seen] * prior[seen]))
    return np.asarray(prior * np.exp(float(weight @ ratios) / (float(weight.sum()) + LEVEL_MASS)))
