"""What a calibration is expected to cost before anything is spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from service.arms.eligibility import list_cost_usd
from service.calibration.calls import PaidCalls
from service.calibration.grading.grader import Grader
from service.calibration.prompts import CalibrationPrompt
from service.calibration.run import reason_not_to_ask
from service.domain.arm import Arm
from service.domain.basics import Json


@dataclass(frozen=True, slots=True)
class ArmEstimate:
    """The calls of one arm, and their dollars.

    Args:
        n_known: answers that are in the journal already.
        n_unable: prompts that the arm cannot answer, or whose answers cannot be graded.
        expected_usd: of the calls to make, with answers of a usual length, and of grading all answers.
        worst_usd: of the calls to make, with the longest answers, and of grading all answers, as expected.
    """

    arm_id: str
    n_calls: int
    n_known: int
    n_unable: int
    expected_usd: Decimal
    worst_usd: Decimal

    def as_json(self) -> Json:
        dollars = {"expected_usd": float(self.expected_usd), "worst_usd": float(self.worst_usd)}
        counts = {"n_calls": self.n_calls, "n_known": self.n_known, "n_unable": self.n_unable}
        return {"model": self.arm_id, **counts, **dollars}


def estimate(
    prompts: Sequence[CalibrationPrompt],
    arms: Sequence[Arm],
    grader: Grader,
    calls: PaidCalls,
    *,
    data_use: frozenset[str] = frozenset(),
) -> list[ArmEstimate]:
    """The estimate of each arm, at its price, or at the highest known one if nobody knows its own."""
    return [_of_arm(prompts, arm, grader, calls, data_use) for arm in arms]


def _of_arm(
    prompts: Sequence[CalibrationPrompt],
    arm: Arm,
    grader: Grader,
    calls: PaidCalls,
    data_use: frozenset[str],
) -> ArmEstimate:
    able = [prompt for prompt in prompts if reason_not_to_ask(prompt, arm, grader, data_use) is None]
    to_ask = [prompt for prompt in able if calls.key(arm, prompt.body) not in calls.journal.replies]
    asking_usd = sum((list_cost_usd(arm, prompt.query) for prompt in to_ask), Decimal(0))
    grading_usd = sum((grader.expected_usd(prompt, arm) for prompt in able), Decimal(0))
    return ArmEstimate(
        arm_id=arm.arm_id,
        n_calls=len(to_ask),
        n_known=len(able) - len(to_ask),
        n_unable=len(prompts) - len(able),
        expected_usd=asking_usd + grading_usd,
        worst_usd=sum((calls.worst_usd(arm, prompt.body) for prompt in to_ask), grading_usd),
    )
