"""A rival on a stream: it chooses, and is told the chosen arm's score when feedback comes."""

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
    """Let a rival choose an arm for each position, and learn (position, arm, score) as the stream tells.

    Args:
        chosen: shape (n,), where a rival that looks back at its choices keeps them.
    """
    n = stream.shape[0]
    arms = np.zeros(n, dtype=np.int64) if chosen is None else chosen
    for t in range(n):
        arms[t] = choose(t)
        told = t - stream.delay + 1
        if told >= 0 and stream.is_rated[told]:
            learn(told, int(arms[told]), float(stream.scores[told, arms[told]]))
    return arms
