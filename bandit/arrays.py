"""The array types of this package; each function documents its shapes."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Singles: TypeAlias = npt.NDArray[np.float32]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Vectors: TypeAlias = npt.NDArray[np.float32] | npt.NDArray[np.float64]


def within(values: Floats, low: float, high: float) -> Floats:
    """Return the values, cut to [low, high]. Of few values `np.clip` spends most of its time in Python."""
    return np.minimum(np.maximum(values, low), high)
