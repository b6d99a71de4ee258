"""What a grader does."""

from __future__ import annotations

from typing import Protocol

from service.calibration.prompts import CalibrationPrompt
from service.domain.arm import Arm


class NotGraded(Exception):
    """An answer could not be graded; the message is the reason."""


class Grader(Protocol):
    """Grades the answers of models."""

    def reason_against(self, prompt: CalibrationPrompt) -> str | None:
        """The rule that the prompt breaks, after the name of its field; None: its answers can be graded."""
        ...

    def reason_against_arm(self, arm: Arm) -> str | None:
        """Why answers of the arm cannot be graded; None: they can."""
        ...

    async def grade(self, prompt: CalibrationPrompt, arm: Arm, answer: str) -> float:
        """The score of the arm's answer, in [0, 1]. Raises NotGraded."""
        ...
