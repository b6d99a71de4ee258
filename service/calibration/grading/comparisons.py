"""Graders that compare an answer with the text or the number that is expected."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from service.calibration.grading.grader import Ask, FreeGrader
from service.calibration.prompts import CalibrationPrompt
from service.dialects.json_body import shown
from service.domain.arm import Arm

WHOLE_TOLERANCE = Decimal("1e-6")  # between a number and the whole number that is expected
RELATIVE_TOLERANCE = Decimal("1e-5")  # of any other expected number
MINUS = "\N{MINUS SIGN}"
MOST_DIGITS = 300
# At most 15 groups: without a limit, and with backtracking, a long row of groups takes quadratic time.
_NUMBER = re.compile(
    r"(?<![\w.])[-+]?(?:\d{1,3}(?:,\d{3}){1,15}+(?![\d,])|\d++)?(?:\.\d+|(?<=\d))(?:[eE][-+]?\d{1,4})?(?![\d_])",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Comparison(FreeGrader):
    """Gives 1 to an answer that matches what is expected, or one of several such, and 0 to any other.

    Args:
        matches: whether an answer (second) matches what is expected (first).
        problem: the rule that an expected text breaks; None: it can be compared.
    """

    name: str
    matches: Callable[[str, str], bool]
    problem: Callable[[str], str | None] = lambda expected: None

    def reason_against(self, prompt: CalibrationPrompt) -> str | None:
        return reason_against_texts(self.name, prompt, self.problem)

    async def grade(self, prompt: CalibrationPrompt, arm: Arm, answer: str, ask: Ask) -> float:
        return float(any(self.matches(str(e), answer) for e in alternatives(prompt.expected)))


def reason_against_texts(
    grader: str, prompt: CalibrationPrompt, problem: Callable[[str], str | None]
) -> str | None:
    """The rule that what a prompt expects breaks: a text or a number, or a list of these."""
    if prompt.expected in (None, []):
        return f"expected: is required by the grader {grader}"
    for expected in alternatives(prompt.expected):
        if not isinstance(expected, str | int | float) or isinstance(expected, bool):
            return f"expected: must be a string or a number, or a list of these, got {shown(expected)}"
        if (broken := problem(str(expected))) is not None:
            return f"expected: {broken}, got {shown(expected)}"
    return None


def alternatives(expected: object) -> list[object]:
    """The texts of which one is enough."""
    return expected if isinstance(expected, list) else [expected]


def _is_equal(expected: str, answer: str) -> bool:
    return _plain(expected) == _plain(answer)


def _is_contained(expected: str, answer: str) -> bool:
    return _plain(expected) in _plain(answer)


def _plain(text: str) -> str:
    """The text with one form of each character and single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def _no_text(expected: str) -> str | None:
    return None if expected.strip() else "must have text"


def last_number(text: str) -> Decimal | None:
    """The last number in the text; None: there is none."""
    numbers = _NUMBER.findall(text.replace(MINUS, "-"))
    return _number(numbers[-1]) if numbers else None


def _is_same_number(expected: str, answer: str) -> bool:
    found, wanted = last_number(answer), _number(expected)
    if found is None or wanted is None:
        return False
    is_whole = wanted == wanted.to_integral_value()
    return abs(found - wanted) <= (WHOLE_TOLERANCE if is_whole else RELATIVE_TOLERANCE * abs(wanted))


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text.strip().replace(",", "").replace(MINUS, "-"))
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number.adjusted()) < MOST_DIGITS else None


def _no_number(expected: str) -> str | None:
    return f"must be a number of at most {MOST_DIGITS} digits" if _number(expected) is None else None


EXACT = Comparison("exact", _is_equal)
CONTAINS = Comparison("contains", _is_contained, _no_text)
NUMERIC = Comparison("numeric", _is_same_number, _no_number)
