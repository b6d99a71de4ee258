from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from service.calibration.report.table import AnswerTable
from tests.service.calibration.report.made_up import answer, prompt


def test_missing_answers_and_unknown_values_are_gaps() -> None:
    first, second = prompt(1), prompt(2)
    table = AnswerTable.of(
        [answer(first, "a", 1.0, 0.2), answer(first, "b", 0.5, None), answer(second, "b", 0.25, 0.4)], {}
    )

    assert table.arm_ids == ("a", "b")
    np.testing.assert_array_equal(table.scores, [[1.0, 0.5], [np.nan, 0.25]])
    np.testing.assert_array_equal(table.costs_usd, [[0.2, np.nan], [np.nan, 0.4]])


def test_a_call_without_an_answer_has_neither_seconds_nor_dollars() -> None:
    table = AnswerTable.of([answer(prompt(1), "a", None, 0.0, latency_s=30.0)], {})

    assert np.isnan([table.scores[0, 0], table.costs_usd[0, 0], table.latencies_s[0, 0]]).all()


@pytest.mark.parametrize("sign", ["text", "time"])
def test_an_answer_that_could_not_be_graded_still_cost_dollars(sign: str) -> None:
    ungraded = answer(prompt(1), "a", None, 0.2, latency_s=3.0)
    said = (
        replace(ungraded, answer_text="?")
        if sign == "text"
        else replace(ungraded, answered_at=datetime(2026, 1, 1, tzinfo=UTC))
    )

    table = AnswerTable.of([said], {})

    assert (table.costs_usd[0, 0], table.latencies_s[0, 0]) == (0.2, 3.0)


def test_of_several_answers_to_a_prompt_the_last_counts() -> None:
    table = AnswerTable.of([answer(prompt(1), "a", 0.0), answer(prompt(1), "a", 1.0)], {})

    assert table.scores.tolist() == [[1.0]]


def test_weights_are_shares_of_the_prompts() -> None:
    table = AnswerTable.of([answer(prompt(i, weight=w), "a", 1.0) for i, w in enumerate((0.1, 0.3))], {})

    assert table.weights.tolist() == pytest.approx([0.5, 1.5])


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_must_be_above_0(weight: float) -> None:
    with pytest.raises(ValueError, match="weight of a prompt must be above 0"):
        AnswerTable.of([answer(prompt(1), "a", 1.0), answer(prompt(2, weight=weight), "a", 1.0)], {})


def test_a_table_needs_an_answer() -> None:
    with pytest.raises(ValueError, match="at least one answer"):
        AnswerTable.of([], {})


def test_contexts_are_found_by_the_prompts_keys() -> None:
    found = [answer(prompt(i), "a", 1.0) for i in (1, 2)]
    one = AnswerTable.of(found, {"key-2": np.array([0.0, 1.0]), "key-9": np.array([1.0])})

    assert one.contexts.tolist() == [[0.0, 0.0], [0.0, 1.0]]
    assert AnswerTable.of(found, {}).contexts.tolist() == [[1.0], [1.0]]


def test_a_part_keeps_rows_and_columns_together() -> None:
    found = [answer(prompt(i), arm, i / 10, i / 100) for i in range(3) for arm in ("a", "b")]
    part = AnswerTable.of(found, {}).part(np.array([True, False, True]), np.array([False, True]))

    assert [p.key for p in part.prompts] == ["key-0", "key-2"]
    assert (part.arm_ids, part.scores.tolist()) == (("b",), [[0.0], [0.2]])
