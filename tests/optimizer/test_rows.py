from __future__ import annotations

import numpy as np
import pytest

from optimizer.rows import GOOD_REWARD, LEAST_ROWS, rows_of, split
from service.calibration.grading.comparisons import EXACT
from service.calibration.grading.judge import Judge
from service.errors import StartupError
from tests.optimizer.scripted_model import a_request, logged

TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


def test_a_request_that_came_twice_is_one_row_with_its_best_answer() -> None:
    requests = [a_request(0, "Hi", "Hello!", 0.8), a_request(1, "Hi", "Hello, dear!", 1.0)]

    found = rows_of(requests, "greetings", EXACT)

    (row,) = found.rows
    assert (row.request, row.reference, row.prompt.task) == ("Hi", "Hello, dear!", "greetings")
    assert row.prompt.body == {"messages": [{"role": "user", "content": "Hi"}], "temperature": 0}
    assert found.left_out == {"repeats another": 1}


def test_answers_that_nobody_rated_highly_are_no_references() -> None:
    requests = [a_request(0, "a", "A", None), a_request(1, "b", "B", GOOD_REWARD - 0.01)]

    compared = rows_of(requests, "t", EXACT)
    judged = rows_of(requests, "t", Judge((), ""))

    assert compared.rows == ()
    assert compared.left_out == {"has no answer rated 0.7 or better": 2}
    assert [row.reference for row in judged.rows] == [None, None]


def test_requests_that_are_more_than_text_are_left_out() -> None:
    picture = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]
    prefilled = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    tool = [{"role": "user", "content": "a"}, {"role": "tool", "tool_call_id": "c", "content": "d"}]
    requests = [
        a_request(0, "a", "A", tools=[TOOL]),
        a_request(1, "", "A", messages=picture),
        a_request(2, "", "A", messages=prefilled),
        a_request(3, "", "A", messages=tool),
    ]

    assert dict(rows_of(requests, "t", EXACT).left_out) == {
        "has tools": 1,
        "has more than text": 1,
        "does not end with the user's message": 1,
        "has other roles than system, user and assistant": 1,
    }


def test_too_few_rows_are_refused_with_their_number() -> None:
    found = rows_of([*logged(3), a_request(9, "x", "y", 0.1)], "sums", EXACT)

    with pytest.raises(StartupError) as refusal:
        found.require_enough("sums", 4)

    assert str(refusal.value) == (
        f"task 'sums' has 3 distinct requests to optimise on, and {LEAST_ROWS} are needed: "
        "the log has 4 with stored texts; 1 left out: has no answer rated 0.7 or better"
    )


def test_the_three_parts_share_no_request_and_a_seed_gives_the_same_ones_in_any_order() -> None:
    rows = rows_of(logged(40), "sums", EXACT).rows

    parts = split(rows, np.random.default_rng(3))
    again = split(rows[::-1], np.random.default_rng(3))
    other = split(rows, np.random.default_rng(4))

    keys = [{row.prompt.key for row in part} for part in (parts.train, parts.validation, parts.held_out)]
    assert [len(part) for part in keys] == [12, 12, 16]
    assert len(set.union(*keys)) == 40
    assert parts == again != other
