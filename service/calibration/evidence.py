"""Graded answers as evidence."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

import orjson

from service.calibration.answers import GradedAnswer
from service.domain.arm import Arm
from service.learning.importing.importer import Added, Importer
from service.learning.importing.rows import Row
from service.learning.importing.survey import CERTAIN


async def import_answers(
    importer: Importer,
    answers: Sequence[GradedAnswer],
    arms: Mapping[str, Arm],
    on_added: Callable[[int], None] = lambda n_added: None,
) -> Mapping[Added, int]:
    """Import the graded answers; importing them again changes nothing, and another score revises the first.

    Args:
        arms: by arm id.
        on_added: called with the number of rows done.

    Raises:
        StoreUnavailable: PostgreSQL is unavailable; import again.
        EncoderError: a prompt could not be encoded.
    """
    graded = [answer for answer in answers if answer.score is not None]
    return await importer.add_all(((row_of(a), arms[a.arm_id], CERTAIN) for a in graded), on_added)


def row_of(answer: GradedAnswer) -> Row:
    """The row of a graded answer, whose request id is the same whenever it is graded."""
    prompt = answer.prompt
    content = orjson.dumps([prompt.body, prompt.task, answer.arm_id], option=orjson.OPT_SORT_KEYS)
    assert answer.score is not None
    return Row(
        prompt=prompt.text,
        model=answer.arm_id,
        score=answer.score,
        cost_usd=answer.cost_usd,
        latency_s=answer.latency_s,
        at=answer.answered_at,
        task=prompt.task,
        prompt_tokens=prompt.query.n_prompt_tokens,
        request_id=f"calibrate-{hashlib.sha256(content).hexdigest()[:40]}",
    )
