"""The quality that a price suggests, for arms of unknown quality beside known ones."""

import numpy as np

from bandit.arrays import Bools, Floats


def price_class(quality: Floats, known: Bools, price: Floats) -> Floats:
    """Estimate each arm's quality from its price and the arms of known quality.

    An isotonic regression of the known qualities on their prices gives the level of each price: it never
    falls as the price rises. An arm gets the level of the highest known price up to its own. Arms cheaper
    than every known one, free arms among them, get the level of the cheapest. A price that is not known says
    nothing: the arm gets the known arms' mean.

    Args:
        quality: shape (n_arms,), in [0, 1]; any number where it is not known.
        known: shape (n_arms,), at least one.
        price: shape (n_arms,), in any unit, at least 0; NaN: not known.

    Returns:
        Shape (n_arms,), within the range of the known qualities.

    Source: Barlow, Bartholomew, Bremner & Brunk (1972), Statistical Inference under Order Restrictions.
    """
    lowest, highest = quality[known].min(), quality[known].max()
    suggested = np.full(quality.size, quality[known].mean())
    fitted = known & ~np.isnan(price)
    if fitted.any():
        order = np.lexsort(
            (-quality[fitted], price[fitted])
        )  # falling at one price, so that it has one level
        levels = _never_falling(quality[fitted][order])
        up_to = np.searchsorted(price[fitted][order], price, side="right") - 1
        suggested = np.where(np.isnan(price), suggested, levels[np.maximum(up_to, 0)])
    return np.asarray(np.clip(suggested, lowest, highest), dtype=np.float64)


def _never_falling(values: Floats) -> Floats:
    """The least-squares fit that never falls, by pooling adjacent violators.

    SciPy has this too, in a package that takes 24 MB and a fifth of the time of all imports.
    """
    means, sizes = list[float](), list[int]()
    for value in values:
        mean, size = float(value), 1
        while means and means[-1] > mean:
            before = sizes.pop()
            mean = (means.pop() * before + mean * size) / (before + size)
            size += before
        means.append(mean)
        sizes.append(size)
    return np.repeat(means, sizes)
