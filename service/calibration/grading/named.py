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
from service.errors import BadRequest, UnknownModel

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
        BadRequest: there is no such grader, model or function, or the options need a judge.
    """
    kind, _, rest = name.partition(":")
    judges = [judge.strip() for judge in rest.split(",")]
    if kind == "judge" and all(judges):
        arms = [find_arm(judge) for judge in judges]
        return Judge(arms, options.rubric or RUBRIC, _baseline(options, find_arm), options.judges_own_family)
    if name in PLAIN or kind == "python":
        _require_no_judge_options(options, name)
        return PLAIN[name]() if name in PLAIN else function_named(rest)
    raise BadRequest(f"grader: must be one of {', '.join(NAMES)}, got {name!r}", param="grader")


def _baseline(options: JudgeOptions, find_arm: Callable[[str], Arm]) -> Arm | None:
    try:
        return None if options.baseline is None else find_arm(options.baseline)
    except UnknownModel as error:
        raise UnknownModel(str(error), param="baseline") from error


def _require_no_judge_options(options: JudgeOptions, name: str) -> None:
    given = {
        "rubric": options.rubric is not None,
        "baseline": options.baseline is not None,
        "judge_own_family": options.judges_own_family,
    }
    for field, is_given in given.items():
        if is_given:
            raise BadRequest(f"{field}: needs a judge as the grader, got {name!r}", param=field)
