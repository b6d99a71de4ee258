from __future__ import annotations

import pytest

from service.calibration.grading.judge import Judge
from service.calibration.grading.named import PLAIN, JudgeOptions, grader_named
from service.calibration.grading.rubrics import RUBRIC
from service.domain.arm import Arm
from service.errors import BadRequest, UnknownModel

ARMS = {name: Arm(name, "openai", name) for name in ("gpt-x", "claude-x", "gemini-x")}


def find_arm(name: str) -> Arm:
    if name not in ARMS:
        raise UnknownModel(f"model {name!r} does not exist")
    return ARMS[name]


@pytest.mark.parametrize("name", PLAIN)
def test_every_plain_grader_has_its_name(name: str) -> None:
    assert grader_named(name, find_arm).reason_against_arm(ARMS["gpt-x"]) is None


def test_a_judge_may_be_followed_by_others() -> None:
    options = JudgeOptions(rubric="Be brief.", baseline="gemini-x", judges_own_family=True)

    judge = grader_named("judge:gpt-x, claude-x", find_arm, options)

    assert judge == Judge([ARMS["gpt-x"], ARMS["claude-x"]], "Be brief.", ARMS["gemini-x"], True)
    assert grader_named("judge:gpt-x", find_arm) == Judge([ARMS["gpt-x"]], RUBRIC)


@pytest.mark.parametrize(
    "name", ["", "Exact", "exact:1", "judge", "judge:", "judge:gpt-x,", "unit_tests", "llm:gpt-x", ":exact"]
)
def test_a_name_of_no_grader_is_reported_with_those_that_there_are(name: str) -> None:
    with pytest.raises(BadRequest) as caught:
        grader_named(name, find_arm)

    assert caught.value.param == "grader"
    assert str(caught.value) == (
        "grader: must be one of exact, contains, regex, numeric, json, unit-tests, judge:MODEL, "
        f"python:module:function, got {name!r}"
    )


def test_a_judge_that_does_not_exist_is_reported() -> None:
    with pytest.raises(UnknownModel, match="model 'nobody' does not exist"):
        grader_named("judge:gpt-x,nobody", find_arm)


def test_a_baseline_that_does_not_exist_is_reported_as_such() -> None:
    with pytest.raises(UnknownModel, match="model 'nobody' does not exist") as caught:
        grader_named("judge:gpt-x", find_arm, JudgeOptions(baseline="nobody"))

    assert caught.value.param == "baseline"


@pytest.mark.parametrize("grader", [*PLAIN, "python:math:sqrt"])
@pytest.mark.parametrize(
    ("options", "field"),
    [
        (JudgeOptions(rubric="Be brief."), "rubric"),
        (JudgeOptions(baseline="gpt-x"), "baseline"),
        (JudgeOptions(judges_own_family=True), "judge_own_family"),
    ],
)
def test_options_of_a_judge_are_refused_for_other_graders(
    grader: str, options: JudgeOptions, field: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        grader_named(grader, find_arm, options)

    assert str(caught.value) == f"{field}: needs a judge as the grader, got {grader!r}"
    assert caught.value.param == field
