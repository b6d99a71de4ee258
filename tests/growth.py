"""How the work of a function grows with its input, without a limit in seconds."""

from __future__ import annotations

import gc
from collections.abc import Callable
from time import thread_time

FACTOR = 8
MOST = 3 * FACTOR  # 8 is linear and 64 is quadratic
ROUNDS = 12

Work = Callable[[], object]


def growth(small: Work, large: Work) -> float:
    """How much more processor time `large` takes than `small`; stops early once it is clearly linear.

    Only this thread's time counts, and the least of several rounds, so that other load does not matter.
    """
    best_small = best_large = float("inf")
    gc.disable()
    try:
        for _ in range(ROUNDS):
            best_small = min(best_small, _time(small))
            best_large = min(best_large, _time(large))
            if best_large < MOST * best_small:
                break
    finally:
        gc.enable()
    return best_large / best_small


def assert_linear(work_of: Callable[[int], Work], n: int) -> None:
    """Assert that eight times the input takes about eight times the work.

    Args:
        work_of: the work for an input of that size; preparing the input is not measured.
        n: the smaller size. Quadratic work on it should take at least a millisecond.
    """
    assert growth(work_of(n), work_of(FACTOR * n)) < MOST


def _time(work: Work) -> float:
    start = thread_time()
    work()
    return max(thread_time() - start, 1e-6)
