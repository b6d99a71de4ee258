"""The graded answers of a calibration."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from service.calibration.prompts import CalibrationPrompt


@dataclass(frozen=True, slots=True)
class GradedAnswer:
    """What one model made of one prompt.

    Args:
        score: in [0, 1]; None: the model gave no answer, or the answer could not be graded.
        cost_usd: dollars of the answer; None: its price is not known.
        latency_s: seconds of the answering call.
        problem: why there is no score.
        answered_at: when the model answered; None: it did not.
    """

    prompt: CalibrationPrompt
    arm_id: str
    score: float | None
    cost_usd: Decimal | None
    latency_s: float
    answer_text: str | None
    problem: str | None = None
    answered_at: datetime | None = None
