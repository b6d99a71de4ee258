"""The report of answers whose prompts are still to be encoded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bandit.arrays import Vectors
from embeddings.encoder import EncoderError, TextEncoder
from service.calibration.answers import GradedAnswer
from service.calibration.report.report import CalibrationReport

WITHOUT_CONTEXTS = "Prompts were compared by task tags only, and not by their texts: the encoder failed"


async def report_of(answers: Sequence[GradedAnswer], encoder: TextEncoder) -> CalibrationReport:
    """Compare the models, in a thread, so that the event loop goes on.

    Without the encoder the report has no contexts, and a note that says so.

    Raises:
        ValueError: there is no answer.
    """
    contexts: dict[str, Vectors] = {}
    notes: tuple[str, ...] = ()
    try:
        for prompt in {answer.prompt.key: answer.prompt for answer in answers}.values():
            contexts[prompt.key] = await encoder.encode(prompt.text)
    except EncoderError as error:
        contexts, notes = {}, (f"{WITHOUT_CONTEXTS} ({error}).",)
    return await asyncio.to_thread(CalibrationReport.of, answers, contexts, notes)
