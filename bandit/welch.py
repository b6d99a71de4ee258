"""The difference of two means, with an interval."""

from dataclasses import dataclass

import numpy as np
from scipy import special


@dataclass(frozen=True, slots=True)
class Sample:
    """The moments of a sample.

    Args:
        n: number of values.
        mean: of the values.
        variance: unbiased estimate of the population's, over n - 1.
    """

    n: int
    mean: float
    variance: float


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of two means; [low, high] contains the true one with the given confidence."""

    value: float
    low: float
    high: float


def difference(first: Sample, second: Sample, confidence: float) -> Difference:
    """Estimate the first mean minus the second, Welch's interval.

        d = m1 - m2,    s2 = v1 / n1 + v2 / n2,    interval = d +- t * sqrt(s2),
        t: the (1 + confidence) / 2 quantile of Student's t with
           s2^2 / ((v1 / n1)^2 / (n1 - 1) + (v2 / n2)^2 / (n2 - 1)) degrees of freedom

    The samples may differ in size and spread. For skewed values, such as dollars, the interval of a small
    sample covers a little less than the confidence.

    Args:
        confidence: in (0, 1).

    Raises:
        ValueError: a sample has fewer than two values, or neither sample varies (the spread is unknown).

    Source: Welch (1947), The Generalization of "Student's" Problem when Several Different Population
    Variances are Involved, Biometrika 34.
    """
    if first.n < 2 or second.n < 2:
        raise ValueError(f"need two values of each sample, got {first.n} and {second.n}")
    if first.variance == second.variance == 0:
        raise ValueError("neither sample varies")
    squares = np.array([first.variance / first.n, second.variance / second.n])
    spread = squares.sum()
    freedom = spread**2 / (squares**2 / np.array([first.n - 1, second.n - 1])).sum()
    reach = float(special.stdtrit(freedom, (1 + confidence) / 2) * np.sqrt(spread))
    value = first.mean - second.mean
    return Difference(value, value - reach, value + reach)
