"""What a grader does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Protocol

from service.calibration.journal import Reply
from service.calibration.prompts import CalibrationPrompt
from service.domain.arm import Arm
from service.domain.basics import Json

Ask = Callable[[Arm, Json], Awaitable[Reply]]  # pays for the answer of an arm, once


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

    def expected_usd(self, prompt: CalibrationPrompt, arm: Arm) -> Decimal:
        """What grading an answer is expected to cost, US dollars."""
        ...

    async def grade(self, prompt: CalibrationPrompt, arm: Arm, answer: str, ask: Ask) -> float:
        """The score of the arm's answer, in [0, 1]. Raises NotGraded."""
        ...


class FreeGrader:
    """The part of a grader that asks no model: it grades every arm for nothing."""

    __slots__ = ()

    def reason_against_arm(self, arm: Arm) -> str | None:
        return None

    def expected_usd(self, prompt: CalibrationPrompt, arm: Arm) -> Decimal:
        return Decimal(0)
