from __future__ import annotations

import pytest

from optimizer.comparison import compared


def test_the_difference_is_of_the_rows_that_both_prompts_answered() -> None:
    comparison = compared([0.0, 0.5, None, 1.0], [1.0, None, 1.0, 1.0])

    assert comparison is not None
    assert (comparison.n, comparison.before, comparison.after) == (2, 0.5, 1.0)
    assert comparison.difference.value == pytest.approx(0.5)
    assert compared([None], [1.0]) is None


def test_equal_differences_leave_an_interval() -> None:
    same = compared([0.5] * 8, [0.5] * 8)
    better = compared([0.0] * 8, [1.0] * 8)

    assert same is not None
    assert better is not None
    assert same.difference.low < 0 < same.difference.high
    assert not same.is_better
    assert 0 < better.difference.low < 0.5
    assert better.is_better


def test_one_better_answer_among_many_is_not_enough() -> None:
    comparison = compared([0.0] * 10, [1.0] + [0.0] * 9)

    assert comparison is not None
    assert not comparison.is_better
