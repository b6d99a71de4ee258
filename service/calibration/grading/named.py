"""The graders by the names that a command gives them."""

from __future__ import annotations

from service.calibration.grading.comparisons import CONTAINS, EXACT, NUMERIC, REGEX
from service.calibration.grading.grader import Grader
from service.calibration.grading.json_equality import JsonGrader
from service.errors import BadRequest

PLAIN: dict[str, Grader] = {
    "exact": EXACT,
    "contains": CONTAINS,
    "regex": REGEX,
    "numeric": NUMERIC,
    "json": JsonGrader(),
}
NAMES = (*PLAIN, "unit-tests", "judge:MODEL", "python:module:function")


def grader_named(name: str) -> Grader:
    """The grader of that name. Raises BadRequest: there is none."""
    if name in PLAIN:
        return PLAIN[name]
    raise BadRequest(f"grader: must be one of {', '.join(NAMES)}, got {name!r}", param="grader")
