"""The graders by the names that a command gives them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from service.calibration.grading.comparisons import CONTAINS, EXACT, NUMERIC
from service.calibration.grading.functions import function_named
from service.calibration.grading.grader import Grader
from service.calibration.grading.json_equality import JsonGrader
from service.calibration.grading.judge import Judge
from service.calibration.grading.patterns import Pattern
from service.calibration.grading.rubrics import RUBRIC
from service.calibration.grading.unit_tests import UnitTests
from service.domain.arm import Arm
from service.errors import BadRequest

PLAIN: dict[str, Callable[[], Grader]] = {
    "exact": lambda: EXACT,
    "contains": lambda: CONTAINS,
    "regex": Pattern,
    "numeric": lambda: NUMERIC,
    "json": JsonGrader,
    "unit-tests": UnitTests,
}
NAMES = (*PLAIN, "judge:MODEL", "python:module:function")


@dataclass(frozen=True, slots=True)
class JudgeOptions:
    """How judges work.

    Args:
        rubric: what makes an answer good; None: RUBRIC.
        baseline: name of the model whose answers others are compared with; None: each answer is scored alone.
    """

    rubric: str | None = None
    baseline: str | None = None
    judges_own_family: bool = False


def grader_named(name: str, find_arm: Callable[[str], Arm], options: JudgeOptions = JudgeOptions()) -> Grader:
    """The grader of that name.

    `unit-tests` runs the code of answers on this machine, and `python:` imports a module of the operator's.

    Args:
        name: one of NAMES; a judge may be followed by others, for answers of its own family.
        find_arm: the model of that name. Raises BadRequest: there is none.

    Raises:
        BadRequest: there is no such grader, model or function.
    """
    kind, _, rest = name.partition(":")
    if name in PLAIN:
        return PLAIN[name]()
    if kind == "python":
        return function_named(rest)
    judges = [judge.strip() for judge in rest.split(",")]
    if kind == "judge" and all(judges):
        baseline = None if options.baseline is None else find_arm(options.baseline)
        arms = [find_arm(judge) for judge in judges]
        return Judge(arms, options.rubric or RUBRIC, baseline, options.judges_own_family)
    raise BadRequest(f"grader: must be one of {', '.join(NAMES)}, got {name!r}", param="grader")
