from __future__ import annotations

import pytest

from service.calibration.grading.grader import NotGraded
from service.calibration.grading.patterns import Pattern
from service.calibration.grading.sandbox import Limits, Sandbox
from tests.service.calibration.grading.grading import prompt, score


@pytest.mark.parametrize(
    ("expected", "answer", "is_right"),
    [
        (r"\b42\b", "It is 42.", True),
        (r"^42$", "It is 42.", False),
        (r"(?i)paris", "PARIS", True),
        ([r"^a", r"^b"], "b", True),
        (r"\N{LATIN SMALL LETTER E WITH ACUTE}", "caf\N{LATIN SMALL LETTER E WITH ACUTE}", True),
    ],
)
async def test_a_pattern_is_searched(expected: object, answer: str, is_right: bool) -> None:
    assert await score(Pattern(), answer, expected=expected) == is_right


async def test_a_search_without_end_is_stopped() -> None:
    impatient = Pattern(Sandbox(Limits(cpu_s=1, wall_s=60.0)))

    with pytest.raises(NotGraded, match="takes too long"):
        await score(impatient, "a" * 60 + "!", expected="(a+)+$")


def test_what_is_no_pattern_is_reported() -> None:
    reason = Pattern().reason_against(prompt(expected="(42"))

    assert reason is not None
    assert reason.startswith("expected: must be a regular expression (missing )")
    assert reason.endswith("got '(42'")
