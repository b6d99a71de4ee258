"""The array types of this package, and dataclasses of arrays; each function documents its shapes."""

from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar, dataclass_transform

import numpy as np
import numpy.typing as npt

T = TypeVar("T")

Floats: TypeAlias = npt.NDArray[np.float64]
Singles: TypeAlias = npt.NDArray[np.float32]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Vectors: TypeAlias = npt.NDArray[np.float32] | npt.NDArray[np.float64]


def within(values: Floats, low: float, high: float) -> Floats:
    """Return the values, cut to [low, high]. Of few values `np.clip` spends most of its time in Python."""
    return np.minimum(np.maximum(values, low), high)


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(field,))
def columns(cls: type[T]) -> type[T]:
    """A frozen dataclass of arrays that is made for every decision; the type checker alone keeps it frozen.

    A dataclass that Python keeps frozen takes five times as long to make.
    """
    return dataclass(slots=True, eq=False)(cls)
