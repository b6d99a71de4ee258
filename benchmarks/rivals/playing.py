"""Plays a rival on a stream: it chooses an arm, and gets that arm's score when feedback arrives."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from bandit.arrays import Ints
from benchmarks.streams import Stream

Rival: TypeAlias = Callable[[Stream, float, int], Ints]


def play(
    stream: Stream,
    choose: Callable[[int], int],
    learn: Callable[[int, int, float], None],
    chosen: Ints | None = None,
) -> Ints:
    """Choose an arm for each position, and learn (position, arm, score) when the feedback arrives.

    Args:
        chosen: shape (n,), receives the choices, for a rival that reads its earlier choices.
    """
    n = stream.shape[0]
    arms = np.zeros(n, dtype=np.int64) if chosen is None else chosen
    for t in range(n):
        arms[t] = choose(t)
        earlier = t - stream.delay + 1
        if earlier >= 0 and stream.is_rated[earlier]:
            learn(earlier, int(arms[earlier]), float(stream.scores[earlier, arms[earlier]]))
    return arms
