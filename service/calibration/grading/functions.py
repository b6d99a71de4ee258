"""The grader that calls a function of the operator's."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from service.calibration.grading.grader import Ask, FreeGrader, NotGraded
from service.calibration.prompts import CalibrationPrompt
from service.domain.arm import Arm
from service.errors import BadRequest


@dataclass(frozen=True, slots=True)
class Function(FreeGrader):
    """Gives the score that `function(answer, prompt)` returns: a number in [0, 1], or whether it is right."""

    name: str
    function: Callable[[str, CalibrationPrompt], object]

    def reason_against(self, prompt: CalibrationPrompt) -> str | None:
        return None

    async def grade(self, prompt: CalibrationPrompt, arm: Arm, answer: str, ask: Ask) -> float:
        try:
            score = await asyncio.to_thread(self.function, answer, prompt)
            if inspect.isawaitable(score):
                score = await score
        except Exception as error:
            raise NotGraded(f"{self.name} failed: {type(error).__name__}: {error}") from error
        if not isinstance(score, int | float) or not 0 <= score <= 1:
            raise NotGraded(f"{self.name} must return a number in [0, 1], got {score!r}")
        return float(score)


def function_named(name: str) -> Function:
    """The grader of a name `module:function`; modules of the working folder are found as well.

    Raises:
        BadRequest: there is no such function.
    """
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise BadRequest(f"grader: must be python:module:function, got {f'python:{name}'!r}", param="grader")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    try:
        function = importlib.import_module(module)
        for part in attribute.split("."):
            function = getattr(function, part)
    except Exception as error:  # whatever the module does when it is imported
        reason = f"{type(error).__name__}: {error}"
        raise BadRequest(f"grader: python:{name} cannot be imported: {reason}", param="grader") from error
    if not callable(function):
        raise BadRequest(f"grader: python:{name} must be a function, got {function!r}", param="grader")
    return Function(f"python:{name}", function)
