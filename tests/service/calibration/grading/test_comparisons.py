from __future__ import annotations

import pytest

from service.calibration.grading.comparisons import CONTAINS, EXACT, NUMERIC
from tests.service.calibration.grading.grading import prompt, score


@pytest.mark.parametrize(
    ("expected", "answer", "is_right"),
    [
        ("Paris", " Paris\n", True),
        ("Paris", "paris", False),
        ("Paris", "Paris.", False),
        ("a  b", "a\nb", True),
        ("caf\N{LATIN SMALL LETTER E WITH ACUTE}", "cafe\N{COMBINING ACUTE ACCENT}", True),
        (["yes", "Yes"], "Yes", True),
        (["yes", "Yes"], "No", False),
        (42, "42", True),
        ("", "", True),
        ("", "something", False),
    ],
)
async def test_exact_compares_texts_apart_from_white_space(
    expected: object, answer: str, is_right: bool
) -> None:
    assert await score(EXACT, answer, expected=expected) == is_right


@pytest.mark.parametrize(
    ("expected", "answer", "is_right"),
    [
        ("Paris", "It is Paris, of course.", True),
        ("New York", "in New\nYork", True),
        ("Paris", "It is London.", False),
        (["Paris", "Lyon"], "Lyon it is", True),
        ("Paris", "", False),
    ],
)
async def test_contains_looks_for_the_text(expected: object, answer: str, is_right: bool) -> None:
    assert await score(CONTAINS, answer, expected=expected) == is_right


@pytest.mark.parametrize(
    ("expected", "answer", "is_right"),
    [
        (42, "The answer is 42.", True),
        ("42", "6 * 7 = 42", True),
        (42, "42 or rather 43", False),
        (1234.5, "$1,234.50", True),
        ("1,234", "1234", True),
        (-3, "x = \N{MINUS SIGN}3", True),
        (3, "10-3", True),
        (1000, "about 1e3", True),
        (50, "50%", True),
        (15, "15km", True),
        (18, "\\boxed{18}", True),
        (7, "In 2024 there were 7", True),
        (0, "0", True),
        (0.5, ".5", True),
        (3.14, "3.15", False),
        (1234567, "1234568", False),
        (12345678901234567890, "12345678901234567891", False),
        (0.333333, "0.33333333333", True),
        (1, "v1.2.3", False),
        (42, "none", False),
        (42, "", False),
        (9, "9" * 5000, False),
        ([1, 2], "it is 2", True),
    ],
)
async def test_numeric_compares_the_last_number(expected: object, answer: str, is_right: bool) -> None:
    assert await score(NUMERIC, answer, expected=expected) == is_right


@pytest.mark.parametrize("row", ["111,", "111,222;", "1" * 300 + "_", "1e", "-", "1."])
async def test_a_long_row_of_digits_and_signs_takes_no_longer_than_its_length(row: str) -> None:
    assert await score(NUMERIC, f"1,{row * (2_000_000 // len(row))} 42", expected=42) == 1


@pytest.mark.parametrize(
    ("grader", "expected", "rule"),
    [
        (EXACT, None, "expected: is required by the grader exact"),
        (EXACT, [], "expected: is required by the grader exact"),
        (EXACT, {"a": 1}, "expected: must be a string or a number, or a list of these, got an object of 1"),
        (EXACT, [["a"]], "expected: must be a string or a number, or a list of these, got a list of 1"),
        (EXACT, True, "expected: must be a string or a number, or a list of these, got True"),
        (CONTAINS, " ", "expected: must have text, got ' '"),
        (NUMERIC, "many", "expected: must be a number of at most 300 digits, got 'many'"),
        (NUMERIC, "nan", "expected: must be a number of at most 300 digits, got 'nan'"),
        (NUMERIC, "1e999999999", "expected: must be a number of at most 300 digits, got '1e999999999'"),
        (NUMERIC, [1, "two"], "expected: must be a number of at most 300 digits, got 'two'"),
    ],
)
def test_what_cannot_be_compared_is_reported(grader: object, expected: object, rule: str) -> None:
    assert grader.reason_against(prompt(expected=expected)) == rule  # type: ignore[attr-defined]
