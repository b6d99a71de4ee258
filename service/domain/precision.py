"""How exactly the numbers of neighbours are known: as codes of one or two bytes.

A neighbour's numbers are rounded when it is recalled, before the decision uses them, so the log reproduces
the decision to the last bit although it keeps only the codes. Units are decimal where people read the
number: a reward of 0.8 stays 0.8.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint16]
Number = TypeVar("Number", np.float64, np.int64)

PER_SHARE = 60_000  # rewards and weights, in [0, 1]: halves, thirds and thousandths are exact
PER_COSINE = 30_000  # in [-1, 1]
_PER_FRACTION = np.array([[PER_COSINE], [PER_SHARE], [PER_SHARE]], dtype=np.float64)
PER_EASE = 100  # ease is in reward, and seldom known within a hundredth
MOST_EASE = 1.27

# Seconds and dollars: 6 bits of exponent and 10 of mantissa, from 2^-32 to 2^32, within 0.05 %.
_EXTRA_BITS = 13  # of a float32's mantissa
_SMALLEST = (127 - 32) << 10  # the code of 2^-32 before it is moved to 0
_ROUNDING = (1 << (_EXTRA_BITS - 1)) - (_SMALLEST << _EXTRA_BITS)  # half a code up, and 2^-32 to 0
_LARGEST = 0xFFFE
UNKNOWN = 0xFFFF


def fraction_codes(values: Floats) -> npt.NDArray[np.int32]:
    """Codes of cosines, rewards and weights; shape (3, k)."""
    return _within(np.rint(values * _PER_FRACTION), -_PER_FRACTION, _PER_FRACTION).astype(np.int32)


def fractions(codes: npt.NDArray[np.int32]) -> Floats:
    """What `fraction_codes` coded."""
    return codes / _PER_FRACTION


def shares(codes: npt.ArrayLike) -> Floats:
    return np.asarray(codes, dtype=np.float64) / PER_SHARE


def cosines(codes: npt.ArrayLike) -> Floats:
    return np.asarray(codes, dtype=np.float64) / PER_COSINE


def ease_codes(values: Floats) -> npt.NDArray[np.int8]:
    return np.rint(_within(values, -MOST_EASE, MOST_EASE) * PER_EASE).astype(np.int8)


def eases(codes: npt.ArrayLike) -> Floats:
    return np.asarray(codes, dtype=np.float64) / PER_EASE


def rounded_ease(values: Floats) -> Floats:
    """As exact as the log keeps it."""
    return eases(ease_codes(values))


def one_rounded_ease(value: float) -> float:
    """As `rounded_ease`, of one number."""
    return round(min(max(value, -MOST_EASE), MOST_EASE) * PER_EASE) / PER_EASE


def magnitude_codes(values: Floats) -> Codes:
    """Codes of numbers of at least 0; NaN is UNKNOWN."""
    bits = np.maximum(values, 0.0).astype("<f4").view("<i4")
    codes = (bits + _ROUNDING) >> _EXTRA_BITS
    result = _within(codes, 0, _LARGEST).astype(np.uint16)
    result[np.isnan(values)] = UNKNOWN
    return result


def magnitudes(codes: Codes) -> Floats:
    bits = (codes.astype("<u4") + np.uint32(_SMALLEST)) << np.uint32(_EXTRA_BITS)
    values = bits.view("<f4").astype(np.float64)
    values[codes == 0] = 0.0
    values[codes == UNKNOWN] = np.nan
    return values


def shortest_magnitude(value: float) -> float:
    """The number with the fewest digits that has the same code; the number itself if it was not rounded."""
    code = magnitude_codes(np.array([value]))
    if value == 0 or magnitudes(code)[0] != value:
        return value
    tried = (float(f"{value:.{digits}g}") for digits in range(1, 6))
    return next((short for short in tried if magnitude_codes(np.array([short])) == code), value)


def _within(values: npt.NDArray[Number], low: float | Floats, high: float | Floats) -> npt.NDArray[Number]:
    """The values, cut to [low, high]. Of few values `clip` spends most of its time in Python."""
    return np.minimum(np.maximum(values, low), high)
