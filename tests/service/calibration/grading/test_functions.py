from __future__ import annotations

from pathlib import Path

import pytest

from service.calibration.grading.functions import function_named
from service.calibration.grading.grader import NotGraded
from service.errors import BadRequest
from tests.service.calibration.grading.grading import score

MODULE = """
class Graders:
    @staticmethod
    def half(answer, prompt):
        return 0.5

def is_expected(answer, prompt):
    return answer == prompt.expected

async def later(answer, prompt):
    return 1

def fails(answer, prompt):
    raise KeyError("missing")

def given(answer, prompt):
    return {"nan": float("nan"), "two": 2, "text": "1", "none": None, "minus": -0.1}[answer]

constant = 1
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_graders.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
    ("function", "answer", "expected_score"),
    [("is_expected", "42", 1.0), ("is_expected", "41", 0.0), ("later", "", 1.0), ("Graders.half", "", 0.5)],
)
async def test_a_function_of_the_working_folder_grades(
    function: str, answer: str, expected_score: float
) -> None:
    assert await score(function_named(f"own_graders:{function}"), answer, expected="42") == expected_score


@pytest.mark.parametrize("answer", ["nan", "two", "text", "none", "minus"])
async def test_a_score_out_of_range_is_no_grade(answer: str) -> None:
    with pytest.raises(NotGraded, match=r"python:own_graders:given must return a number in \[0, 1\], got"):
        await score(function_named("own_graders:given"), answer)


async def test_a_function_that_fails_gives_no_grade() -> None:
    with pytest.raises(NotGraded, match="python:own_graders:fails failed: KeyError: 'missing'"):
        await score(function_named("own_graders:fails"), "42")


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("", "must be python:module:function, got 'python:'"),
        ("own_graders", "must be python:module:function, got 'python:own_graders'"),
        ("own_graders:", "must be python:module:function"),
        ("no_such_module:grade", "python:no_such_module:grade cannot be imported: ModuleNotFoundError"),
        ("own_graders:missing", "cannot be imported: AttributeError"),
        ("own_graders:constant", "python:own_graders:constant must be a function, got 1"),
    ],
)
def test_a_function_that_cannot_be_used_is_reported(name: str, rule: str) -> None:
    with pytest.raises(BadRequest) as caught:
        function_named(name)

    assert rule in str(caught.value)
    assert str(caught.value).startswith("grader: ")
