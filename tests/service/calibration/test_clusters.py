from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from service.calibration.clusters import Ints, Points


def points(*rows: tuple[float, ...], counts: tuple[int, ...] | None = None) -> Points:
    return Points(np.array(rows, dtype=np.float64), np.array(counts or (1,) * len(rows)))


def groups(members: Ints) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(members == cluster).tolist()) for cluster in set(members.tolist())}


@pytest.mark.parametrize("seed", range(10))
def test_points_that_lie_together_are_one_cluster(seed: int) -> None:
    heaps = points((0, 0), (0, 0.1), (5, 5), (5, 5.1), (9, 0), (9, 0.1))

    distances, members = heaps.clusters(3, np.random.default_rng(seed))

    assert groups(members) == {frozenset({0, 1}), frozenset({2, 3}), frozenset({4, 5})}
    assert distances == pytest.approx([0.0025] * 6)


def test_every_point_can_be_its_own_cluster() -> None:
    distances, members = points((0,), (1,), (2,), (3,)).clusters(4, np.random.default_rng(0))

    assert sorted(members.tolist()) == [0, 1, 2, 3]
    assert distances == pytest.approx([0.0] * 4)


def test_a_frequent_point_pulls_the_centre_towards_itself() -> None:
    distances, _ = points((0,), (1,), counts=(9, 1)).clusters(1, np.random.default_rng(0))

    assert distances == pytest.approx([0.01, 0.81])


def test_equal_points_do_not_stop_the_seeding() -> None:
    _, members = points((1,), (1,), (1,)).clusters(2, np.random.default_rng(0))

    assert set(members.tolist()) <= {0, 1}


def test_the_same_seed_gives_the_same_clusters() -> None:
    rows = np.random.default_rng(7).standard_normal((300, 8))
    cloud = Points(rows, np.ones(300, dtype=np.intp))

    first, again = (cloud.clusters(20, np.random.default_rng(3))[1] for _ in range(2))

    assert_array_equal(first, again)


def test_clusters_are_better_than_random_centres() -> None:
    rng = np.random.default_rng(5)
    rows = rng.standard_normal((400, 4)) + 6 * rng.standard_normal((8, 4))[rng.integers(8, size=400)]

    distances, _ = Points(rows, np.ones(400, dtype=np.intp)).clusters(8, np.random.default_rng(0))

    at_random = ((rows[:, None] - rows[rng.choice(400, 8)]) ** 2).sum(axis=2).min(axis=1)
    assert distances.sum() < at_random.sum()


@pytest.mark.parametrize("k", [0, 3])
def test_more_clusters_than_points_are_rejected(k: int) -> None:
    with pytest.raises(ValueError, match=r"k must be in \[1, 2\]"):
        points((0,), (1,)).clusters(k, np.random.default_rng(0))
