"""Grades answers without any model."""

from __future__ import annotations

from service.calibration.grading.grader import Grader
from service.calibration.journal import Reply
from service.calibration.prompts import CalibrationPrompt, prompt_of
from service.domain.arm import Arm
from service.domain.basics import Json

ARM = Arm("an-arm", "openai", "some-model")


async def ask_nobody(arm: Arm, body: Json) -> Reply:
    raise AssertionError("the grader asked a model")


def prompt(**more: object) -> CalibrationPrompt:
    return prompt_of({"prompt": "What is it?", **more})


async def score(grader: Grader, answer: str, **more: object) -> float:
    """The score of an answer to a prompt that the grader accepts."""
    asked = prompt(**more)
    assert grader.reason_against(asked) is None
    return await grader.grade(asked, ARM, answer, ask_nobody)
