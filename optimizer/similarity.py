"""The grader that compares an answer with a highly rated one, by their meaning."""

from __future__ import annotations

from dataclasses import dataclass

from embeddings.encoder import EncoderError, TextEncoder
from service.calibration.grading.grader import Ask, FreeGrader, NotGraded
from service.calibration.prompts import CalibrationPrompt
from service.domain.arm import Arm


@dataclass(frozen=True, slots=True)
class Similarity(FreeGrader):
    """The score is the cosine of the two texts' vectors, and 0 below 0."""

    encoder: TextEncoder

    def reason_against(self, prompt: CalibrationPrompt) -> str | None:
        return None if prompt.expected is not None else "expected: is required by the grader similarity"

    async def grade(self, prompt: CalibrationPrompt, arm: Arm, answer: str, ask: Ask) -> float:
        if not answer.strip():
            return 0.0
        try:
            reference = await self.encoder.encode(str(prompt.expected))
            given = await self.encoder.encode(answer)
        except EncoderError as error:
            raise NotGraded(f"the encoder failed: {error}") from error
        return min(1.0, max(0.0, float(reference @ given)))
