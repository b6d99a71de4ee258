"""Clusters of contexts, so that a few of them can stand for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.intp]

N_STARTS = 3  # of which the best is kept: one start often leaves a small group of points to another's centre
MAX_ROUNDS = 20  # of Lloyd's algorithm, which has nearly settled by then


@dataclass(frozen=True, slots=True)
class Points:
    """Points to cluster, and how often each occurs.

    Args:
        rows: shape (n, d).
        counts: shape (n,), above 0.
    """

    rows: Floats
    counts: Ints

    def clusters(self, k: int, rng: np.random.Generator) -> tuple[Floats, Ints]:
        """Partition the points into k clusters with small squared distances from their centres (k-means).

        The best of several runs of Lloyd's algorithm, each started by k-means++: each further centre is a
        point drawn in proportion to its count times its squared distance from the nearest centre so far. A
        centre that loses all its points moves to the farthest point.

        Args:
            k: number of clusters, from 1 to n.

        Returns:
            Each point's squared distance from its centre, shape (n,), and its cluster, shape (n,).

        Raises:
            ValueError: k is not in [1, n].

        Source: Arthur & Vassilvitskii (2007), k-means++: The Advantages of Careful Seeding.
        """
        if not 1 <= k <= len(self.rows):
            raise ValueError(f"k must be in [1, {len(self.rows)}], got {k}")
        if k == len(self.rows):
            return np.zeros(k), np.arange(k)
        runs = [self._run(self._seeds(k, rng)) for _ in range(N_STARTS)]
        return min(runs, key=lambda run: float(self.counts @ run[0]))

    def _run(self, centres: Floats) -> tuple[Floats, Ints]:
        """Lloyd's algorithm from these centres."""
        distances, members = self._assigned(centres)
        for _ in range(MAX_ROUNDS):
            before = members
            distances, members = self._assigned(self._means(members, distances, len(centres)))
            if np.array_equal(before, members):
                break
        return distances, members

    def _seeds(self, k: int, rng: np.random.Generator) -> Floats:
        chosen = [int(rng.choice(len(self.rows), p=self.counts / self.counts.sum()))]
        nearest = self._squared(chosen[0])
        while len(chosen) < k:
            total = (self.counts * nearest).sum()
            shares = self.counts * nearest / total if total > 0 else None  # every point is a centre already
            chosen.append(int(rng.choice(len(self.rows), p=shares)))
            nearest = np.minimum(nearest, self._squared(chosen[-1]))
        return self.rows[chosen]

    def _squared(self, centre: int) -> Floats:
        squares: Floats = ((self.rows - self.rows[centre]) ** 2).sum(axis=1)
        return squares

    def _assigned(self, centres: Floats) -> tuple[Floats, Ints]:
        """The squared distance of each point from its nearest centre, and that centre."""
        own = (self.rows**2).sum(axis=1)
        squares = own[:, None] - 2 * self.rows @ centres.T + (centres**2).sum(axis=1)
        members = squares.argmin(axis=1)
        return np.maximum(squares[np.arange(len(own)), members], 0.0), members

    def _means(self, members: Ints, distances: Floats, k: int) -> Floats:
        """The mean of each cluster; the farthest points, one each, for clusters without points."""
        belongs = (members == np.arange(k)[:, None]) * self.counts  # (k, n)
        sizes = belongs.sum(axis=1)
        means: Floats = belongs @ self.rows / np.maximum(sizes, 1)[:, None]
        empty = np.flatnonzero(sizes == 0)
        means[empty] = self.rows[np.argsort(-distances, kind="stable")[: len(empty)]]
        return means
