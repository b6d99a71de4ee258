"""The prompts of a calibration that come from the log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from service.calibration.grading.grader import Grader
from service.calibration.kept_prompts import KeptPrompts
from service.calibration.prompts import CalibrationPrompt
from service.calibration.sampling import LogSampler, gradable


@dataclass(frozen=True, slots=True)
class LogSample:
    """Which requests of the log are asked again.

    Args:
        from_log: as the command was told: a time, or an age.
        since: the time that it means.
        n: the number of prompts.
    """

    from_log: str
    since: datetime
    n: int


def kept_prompts(journal: Path, tenant: str, grader: str, source: Path | LogSample) -> KeptPrompts:
    """The file beside a journal that keeps the prompts of the log."""
    wanted = {"tenant": tenant, "grader": grader}
    if isinstance(source, LogSample):
        wanted |= {"from_log": source.from_log, "sample": str(source.n)}
    return KeptPrompts(journal.with_name(f"{journal.name}.prompts"), wanted)


async def log_prompts(
    sampler: LogSampler,
    sample: LogSample,
    tenant: str,
    kept: KeptPrompts,
    grader: Grader,
    now: datetime,
    *,
    is_kept: bool,
) -> list[CalibrationPrompt]:
    """The prompts of the interrupted calibration, or a new sample of the log.

    Args:
        is_kept: whether a new sample is kept until the calibration is done.

    Raises:
        BadRequest: the log has no requests to ask again, or none that the grader can grade.
        StartupError: the prompts cannot be kept.
        StoreUnavailable, EncoderError: as the sampler.
    """
    if (prompts := kept.read()) is not None:
        return prompts
    prompts = gradable(await sampler.sample(tenant, sample.since, now, sample.n), grader)
    if is_kept:
        kept.keep(prompts)
    return prompts
