"""The distinct contexts of one tenant's points in this process, for search.

With at most 2,000 contexts every one is compared exactly. With more, only the 500 (or 5 per prompt requested)
that share the most sign bits with the query are: the number of differing signs estimates the angle between
two vectors. At 10,000 contexts that takes half the time and reads a tenth of the bytes. It misses hardly any
of the nearest twenty contexts, and some of the last of the nearest hundred (docs/decisions/0014).

Source: Charikar (2002), Similarity Estimation Techniques from Rounding Algorithms, STOC 34.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from service.domain.basics import Vector
from service.memory.prompts import context_key

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Bits = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float32]
Number = TypeVar("Number", bound=np.generic)
INITIAL_CAPACITY = 64  # contexts; doubled when they are full
COMPARED_PER_PROMPT = 5
LEAST_COMPARED = 500
ALL_COMPARED = 2_000  # up to so many, choosing by signs takes as long as comparing the others too
COPYING = 2  # to copy a vector and compare the copy takes as long as to compare this many in their place


class Contexts:
    """Contexts in slots from 0, in no order, each as long as a point has it."""

    def __init__(self, dimension: int) -> None:
        self._keys: list[int] = []  # of each slot
        self._slot_of: dict[int, int] = {}  # by key
        self._n_points = np.empty(INITIAL_CAPACITY, dtype=np.int64)
        self._vectors = np.empty((INITIAL_CAPACITY, dimension), dtype=np.float32)
        self._signs = np.empty((INITIAL_CAPACITY, signs(self._vectors[0]).size), dtype=np.uint64, order="F")

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, context: Vector) -> int:
        """The slot of the context, which one more point has now."""
        key = context_key(context)
        slot = self._slot_of.get(key)
        if slot is None:
            slot = self._append(key, context)
        self._n_points[slot] += 1
        return slot

    def release(self, slot: int) -> int | None:
        """One point less has this context; returns the slot whose context moved into this one, if any did."""
        self._n_points[slot] -= 1
        if self._n_points[slot] > 0:
            return None
        del self._slot_of[self._keys[slot]]
        last = len(self._keys) - 1
        key = self._keys.pop()
        if slot == last:
            return None
        for column in (self._n_points, self._vectors, self._signs):
            column[slot] = column[last]
        self._keys[slot] = key
        self._slot_of[key] = slot
        return last

    def nearest(self, context: Vector, is_wanted: Bools | None, limit: int) -> tuple[Ints, Floats]:
        """The slots of the most similar contexts, most similar first, and their similarity.

        Args:
            is_wanted: shape (n,), by slot; None: all are.
        """
        slots = self._candidates(context, is_wanted, max(limit * COMPARED_PER_PROMPT, LEAST_COMPARED))
        # Unlike a matrix-vector product, `vecdot` does not wake the threads of a BLAS library.
        if slots.size * COPYING > len(self):
            similarity = np.vecdot(self._vectors[: len(self)], context)[slots]
        else:
            similarity = np.vecdot(self._vectors.take(slots, axis=0), context)
        similarity = np.minimum(np.maximum(similarity, -1.0), 1.0)
        nearest = (-similarity).argsort()[:limit]
        return slots[nearest], similarity[nearest]

    def _candidates(self, context: Vector, is_wanted: Bools | None, limit: int) -> Ints:
        """The wanted slots; if there are many, `limit` of them that share most signs with the context.

        Of slots that share as many, all or none are among them.
        """
        n = len(self)
        n_wanted = n if is_wanted is None else int(np.count_nonzero(is_wanted))
        if n_wanted <= max(limit, ALL_COMPARED):
            return np.arange(n) if is_wanted is None else is_wanted.nonzero()[0]
        differing = np.bitwise_count(self._signs[:n] ^ signs(context))
        n_differing = differing.sum(axis=1, dtype=np.uint16)
        if is_wanted is not None:
            n_differing[~is_wanted] = self._signs.shape[1] * 64 + 1  # more than can differ
        # They are small whole numbers: to count each takes half the time of a partial sort.
        most = np.bincount(n_differing).cumsum().searchsorted(limit)
        nearest: Ints = (n_differing <= most).nonzero()[0]
        return nearest

    def _append(self, key: int, context: Vector) -> int:
        slot = len(self._keys)
        if slot == self._n_points.size:
            self._n_points, self._vectors = twice(self._n_points), twice(self._vectors)
            self._signs = twice(self._signs)
        self._n_points[slot] = 0
        self._vectors[slot] = context
        self._signs[slot] = signs(context)
        self._keys.append(key)
        self._slot_of[key] = slot
        return slot


def signs(context: Vector) -> Bits:
    """One bit per component, set if it is above 0; shape (ceil(d / 64),)."""
    above = context > 0
    if context.size % 64:
        above = np.concatenate([above, np.zeros(-context.size % 64, dtype=np.bool_)])
    return np.packbits(above).view(np.uint64)


def twice(column: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """The array with room for twice as many rows."""
    return np.concatenate([column, np.empty_like(column)])
