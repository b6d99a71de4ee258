"""What an operator wants of a calibration over HTTP."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import orjson

from service.calibration.grading.named import JudgeOptions
from service.calibration.prompts import CalibrationPrompt
from service.domain.basics import Json


@dataclass(frozen=True, slots=True)
class Wish:
    """What an operator wants.

    Args:
        models: ids or aliases; empty: all models in use.
        prompts: empty: those of the log.
        from_log: as given: a time, or an age.
        since: the time that it means; None: the prompts are given.
        sample: requests of the log.
        is_imported: whether the router learns from the scores.
    """

    models: Sequence[str]
    grader: str
    judge: JudgeOptions
    max_usd: Decimal
    prompts: Sequence[CalibrationPrompt]
    from_log: str | None
    since: datetime | None
    sample: int
    is_imported: bool
    max_answer_tokens: int
    concurrency: int

    @property
    def options(self) -> Json:
        """All of it but the prompts and the dollars, as it is stored and shown."""
        return {
            "models": list(self.models) or "all",
            "grader": self.grader,
            "rubric": self.judge.rubric,
            "baseline": self.judge.baseline,
            "judge_own_family": self.judge.judges_own_family,
            "from_log": self.from_log,
            "sample": self.sample if self.since else None,
            "import": self.is_imported,
            "max_answer_tokens": self.max_answer_tokens,
            "concurrency": self.concurrency,
        }

    @property
    def digest(self) -> bytes:
        """The same for the same options and prompts, so that such a wish goes on with what is not done."""
        options = {name: value for name, value in self.options.items() if name != "concurrency"}
        content = [options, [prompt.key for prompt in self.prompts]]
        return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).digest()


def judge_of(options: Json) -> JudgeOptions:
    """How the judges of stored options work."""
    return JudgeOptions(options["rubric"], options["baseline"], options["judge_own_family"])
