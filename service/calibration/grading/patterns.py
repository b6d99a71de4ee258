"""The grader that searches an answer for a regular expression."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import orjson

from service.calibration.grading.comparisons import alternatives, reason_against_texts
from service.calibration.grading.grader import Ask, FreeGrader, NotGraded
from service.calibration.grading.sandbox import Limits, Sandbox
from service.calibration.prompts import CalibrationPrompt
from service.domain.arm import Arm

_FOUND, _NOT_FOUND = 80, 81
# In a process of its own: a search that backtracks for hours cannot be interrupted.
_SEARCH = f"""
import json, os, re
with open("search.json", encoding="utf-8") as file:
    patterns, answer = json.load(file)
os._exit({_FOUND} if any(re.search(pattern, answer) for pattern in patterns) else {_NOT_FOUND})
"""


@dataclass(frozen=True, slots=True)
class Pattern(FreeGrader):
    """Gives 1 to an answer in which the expected regular expression is found, or one of several such."""

    sandbox: Sandbox = field(default_factory=lambda: Sandbox(Limits(cpu_s=5, wall_s=20.0)))

    def reason_against(self, prompt: CalibrationPrompt) -> str | None:
        return reason_against_texts("regex", prompt, _no_pattern)

    async def grade(self, prompt: CalibrationPrompt, arm: Arm, answer: str, ask: Ask) -> float:
        search = orjson.dumps([[str(e) for e in alternatives(prompt.expected)], answer]).decode()
        status = await self.sandbox.status({"search.json": search, "search.py": _SEARCH}, "search.py")
        if status not in (_FOUND, _NOT_FOUND):
            raise NotGraded("the search for the pattern takes too long")
        return float(status == _FOUND)


def _no_pattern(expected: str) -> str | None:
    try:
        re.compile(expected)
    except (re.error, OverflowError, RecursionError) as error:
        return f"must be a regular expression ({error})"
    return None
