"""Thompson sampling: how probable it is that each arm's sampled utility is the largest."""

import numpy as np
from scipy import special

from bandit.arrays import Bools, Floats
from bandit.beta import Beta

N_POINTS = 64
N_RULER = 256
REACH = 8.0  # standard deviations; beyond them a Beta has next to nothing
PILED = 0.5  # pseudo-count below which a Beta has much of its mass right at 0 or 1
NEAR_END = np.array([0.0, 1e-9, 1e-7, 1e-5, 1e-4, 1e-3, 0.004, 0.015, 0.05])
ENDS = np.concatenate([NEAR_END, 1.0 - NEAR_END])
GAUSS_NODES = (0.5 - 0.5 / np.sqrt(3.0), 0.5 + 0.5 / np.sqrt(3.0))


def probabilities(posterior: Beta, weight: float, offset: Floats) -> Floats:
    """Compute the probability that each arm's utility, weight * theta + offset, is the largest.

        P_a = integral of prod_{b != a} F_b dF_a,    F_a the distribution function of arm a's utility

    by quadrature: F is exact at the points of a grid and linear between them. Nothing is drawn, so the same
    beliefs always give the same probabilities. The error is about 1e-3, seldom 3e-3. Arms 8 standard
    deviations out of contention get exactly 0.

    Args:
        posterior: of each arm's theta.
        weight: of theta in the utility, at least 0.
        offset: shape (n_arms,), the rest of the utility; minus infinity rules an arm out.

    Returns:
        Shape (n_arms,), sums to 1. With weight 0 the arms of largest offset share it evenly.

    Raises:
        ValueError: every arm is ruled out.
    """
    if not np.isfinite(offset.max()):
        raise ValueError("every arm is ruled out")
    if weight == 0:
        return _even(offset == offset.max())

    mean, reach = posterior.mean, REACH * posterior.standard_deviation
    lowest = weight * np.maximum(mean - reach, 0.0) + offset
    highest = weight * np.minimum(mean + reach, 1.0) + offset
    contends = highest >= lowest.max()
    if np.count_nonzero(contends) == 1:
        return _even(contends)

    rivals = Beta(posterior.alpha[contends], posterior.beta[contends])
    grid = _grid(rivals, weight, offset[contends], lowest.max(), highest.max())
    result = np.zeros_like(offset)
    result[contends] = _largest(rivals.cdf((grid - offset[contends, None]) / weight))
    return result


def sample(posterior: Beta, weight: float, offset: Floats, rng: np.random.Generator) -> Floats:
    """Draw one utility per arm, shape (n_arms,): what `probabilities` integrates over."""
    return weight * rng.beta(posterior.alpha, posterior.beta) + offset


def _even(chosen: Bools) -> Floats:
    return chosen.astype(np.float64) / np.count_nonzero(chosen)


def _grid(rivals: Beta, weight: float, offset: Floats, low: float, high: float) -> Floats:
    """Place points where the largest utility probably is: at its quantiles, were every posterior normal.

    Half of them are spread evenly, for posteriors that are nothing like normal; those that pile up at 0 or 1
    get points of their own there.
    """
    ruler = np.linspace(low, high, N_RULER)
    centre, spread = weight * rivals.mean + offset, weight * rivals.standard_deviation
    largest = np.prod(special.ndtr((ruler - centre[:, None]) / spread[:, None]), axis=0)
    even = np.linspace(0.0, 1.0, N_RULER)
    grid = np.interp(np.linspace(0.0, 1.0, N_POINTS), (even + largest) / 2, ruler)
    piled = np.minimum(rivals.alpha, rivals.beta) < PILED
    if not piled.any():
        return grid
    ends = np.ravel(weight * ENDS + offset[piled, None])
    return np.sort(np.concatenate([grid, ends[(ends > low) & (ends < high)]]))


def _largest(below: Floats) -> Floats:
    """Integrate prod_{b != a} F_b dF_a with each F linear within a cell, from F at the cells' borders.

    The outermost cells hold what lies beyond the grid: every F starts at 0 and ends at 1.
    """
    n_arms = below.shape[0]
    edges = np.hstack([np.zeros((n_arms, 1)), below, np.ones((n_arms, 1))])
    start, step = edges[:, :-1], np.diff(edges, axis=1)
    shares = np.zeros(n_arms)
    for node in GAUSS_NODES:
        at_node = start + node * step
        ratio = np.divide(step, at_node, out=np.zeros_like(step), where=at_node > 0)
        shares += ratio @ np.prod(at_node, axis=0)
    return shares / float(shares.sum())
