"""Thompson sampling: the probability that each arm's sampled utility is the largest."""

import math

import numpy as np
from scipy import special

from bandit.arrays import Bools, Floats, Singles, within
from bandit.beta import Beta, cdf_and_pdf

N_POINTS = 24
EVEN = np.linspace(0.0, 1.0, 48)
QUANTILES = np.linspace(0.0, 1.0, N_POINTS)
REACH = 8.0  # standard deviations from the mean beyond which a Beta has almost no mass
BOTH_WAYS = np.array([[-REACH], [REACH]])
PILED = 0.5  # pseudo-count below which a Beta has much of its mass close to 0 or 1
NEAR_END = np.array([0.0, 1e-9, 1e-7, 1e-5, 1e-4, 1e-3, 0.004, 0.015, 0.05])
ENDS = np.concatenate([NEAR_END, 1.0 - NEAR_END])
TINY = 1e-300
STEEPEST = 3.0  # largest slope of a monotone cubic at the ends of its cell, in mean slopes of the cell


def probabilities(posterior: Beta, weight: float, offset: Floats) -> Floats:
    """Compute the probability that each arm's utility, weight * theta + offset, is the largest.

        P_a = integral of prod_{b != a} F_b dF_a,    F_a the distribution function of arm a's utility

    by quadrature: F and its slope are exact at the points of a grid, and F is a cubic between them. Nothing
    is drawn, so the same beliefs always give the same probabilities. The error is mostly below 1e-4, seldom
    2e-3; where beliefs pile up at 0 or 1, seldom 8e-3 (`tests/bandit/test_thompson.py`). The error makes the
    choice differ that much from Thompson sampling, but every propensity is exact: the arm is drawn from the
    returned probabilities. Arms 8 standard deviations out of contention get exactly 0.

    Args:
        posterior: of each arm's theta.
        weight: of theta in the utility, at least 0.
        offset: shape (n_arms,), the utility without theta; minus infinity rules an arm out.

    Returns:
        Shape (n_arms,), sums to 1. With weight 0 the arms of largest offset share it evenly.

    Raises:
        ValueError: every arm is ruled out.
    """
    largest_offset = float(offset.max())
    if not math.isfinite(largest_offset):
        raise ValueError("every arm is ruled out")
    if weight == 0:
        return _even(offset == largest_offset)

    spread = posterior.standard_deviation
    reach = within(posterior.mean + BOTH_WAYS * spread, 0.0, 1.0)
    lowest, highest = weight * reach + offset
    floor, ceiling = float(lowest.max()), float(highest.max())
    contends = highest >= floor
    n_rivals = np.count_nonzero(contends)
    if n_rivals == 1:
        return _even(contends)
    if n_rivals == contends.size:
        return _among_rivals(posterior, spread, weight, offset, floor, ceiling)
    rivals = Beta(posterior.mean[contends], posterior.mass[contends])
    result = np.zeros(offset.size)
    result[contends] = _among_rivals(rivals, spread[contends], weight, offset[contends], floor, ceiling)
    return result


def sample(posterior: Beta, weight: float, offset: Floats, rng: np.random.Generator) -> Floats:
    """Draw one utility per arm, shape (n_arms,), from the distributions that `probabilities` integrates."""
    return weight * rng.beta(posterior.alpha, posterior.beta) + offset


def _among_rivals(
    rivals: Beta, spread: Floats, weight: float, offset: Floats, floor: float, ceiling: float
) -> Floats:
    """Compute the probabilities of arms that all contend; the largest utility is in [floor, ceiling]."""
    alpha, beta = rivals.alpha, rivals.beta
    grid = _grid(weight * rivals.mean + offset, weight * spread, floor, ceiling)
    piled = np.minimum(alpha, beta) < PILED
    if piled.any():
        grid = _with_ends(grid, weight, offset[piled])
    theta = (grid - offset[:, None]) / weight
    below, density = cdf_and_pdf(alpha, beta, theta)
    return _largest(below, density, theta[0, 1:] - theta[0, :-1])


def _even(chosen: Bools) -> Floats:
    return chosen.astype(np.float64) / np.count_nonzero(chosen)


def _grid(centre: Floats, spread: Floats, low: float, high: float) -> Floats:
    """Place the points of the grid, a third each by three rules.

    One third follows the distribution of the largest utility, one third that of all arms' utilities, both as
    if they were normal. The last third is spread evenly, for posteriors that are far from normal.
    """
    ruler = low + (high - low) * EVEN
    below = special.ndtr((ruler - centre[:, None]) / spread[:, None])
    cumulative = EVEN + below.prod(axis=0) + below.sum(axis=0) / centre.size
    quantiles = cumulative[0] + (cumulative[-1] - cumulative[0]) * QUANTILES
    grid: Floats = np.interp(quantiles, cumulative, ruler)
    return grid


def _with_ends(grid: Floats, weight: float, offset: Floats) -> Floats:
    """Add points near 0 and 1 for the posteriors with these offsets, which have much of their mass there."""
    ends = np.ravel(weight * ENDS + offset[:, None])
    return np.sort(np.concatenate([grid, ends[(ends > grid[0]) & (ends < grid[-1])]]))


def _largest(below: Singles, density: Floats, widths: Floats) -> Floats:
    """Integrate prod_{b != a} F_b dF_a, each F a cubic within a cell, by two Gauss nodes in each cell.

    The outermost cells cover what lies beyond the grid: in them every F rises evenly from 0, or to 1.

    Args:
        below: shape (n_arms, n_points), F at the grid.
        density: shape (n_arms, n_points), the slope of F. A slope is cut where F would otherwise fall.
        widths: shape (n_points - 1,), of the cells between the points.

    Source: Fritsch & Carlson (1980), Monotone Piecewise Cubic Interpolation, SIAM J. Numer. Anal. 17.
    """
    n_arms, n_points = below.shape
    borders = np.empty((n_arms, n_points + 2))
    borders[:, 0], borders[:, 1:-1], borders[:, -1] = 0.0, below, 1.0
    cells = np.empty((4, n_arms, n_points + 1))
    cells[0] = borders[:, :-1]
    cells[1:] = borders[:, 1:] - borders[:, :-1]
    steepest = STEEPEST * cells[1, :, 1:-1]
    np.minimum(density[:, :-1] * widths, steepest, out=cells[2, :, 1:-1])
    np.minimum(density[:, 1:] * widths, steepest, out=cells[3, :, 1:-1])

    at_node, gain = (CUBIC @ cells.reshape(4, -1)).reshape(2, 2, n_arms, -1)
    shares = gain / np.maximum(at_node, TINY) * at_node.prod(axis=1, keepdims=True)
    total: Floats = shares.sum(axis=(0, 2))
    return total / float(total.sum())


def _cubic(nodes: Floats) -> Floats:
    """Return the matrix from a cell's start, step and end slopes to a cubic's values and slopes at the nodes.

    Returns:
        Shape (2 n_nodes, 4): values, then slopes, both per width of a cell.
    """
    t, u = nodes, 1.0 - nodes
    values = [np.ones_like(t), t**2 * (3.0 - 2.0 * t), t * u**2, -(t**2) * u]
    slopes = [np.zeros_like(t), 6.0 * t * u, u * (1.0 - 3.0 * t), t * (3.0 * t - 2.0)]
    return np.concatenate([np.stack(values, axis=1), np.stack(slopes, axis=1)])


GAUSS_NODES = 0.5 + np.array([-0.5, 0.5]) / np.sqrt(3.0)
CUBIC = _cubic(GAUSS_NODES)
