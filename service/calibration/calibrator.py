"""Runs a calibration with the parts of a running router."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import orjson
import structlog

from embeddings.encoder import TextEncoder
from service.arms.catalog import Catalog
from service.calibration.answers import GradedAnswer
from service.calibration.calls import PaidCalls
from service.calibration.cap import SpendingCap
from service.calibration.estimate import ArmEstimate, estimate
from service.calibration.evidence import import_answers
from service.calibration.grading.grader import Grader
from service.calibration.journal import CallJournal
from service.calibration.prompts import CalibrationPrompt
from service.calibration.report.encoded import report_of
from service.calibration.report.json_form import as_json
from service.calibration.run import OnProgress, calibrate
from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.ports import Clock, Evidence, Journal, ModelClient
from service.learning.importing.importer import Importer

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CalibrationJob:
    """What is to be asked, and how.

    Args:
        tenant: whose evidence the scores become.
        spent_usd: by earlier runs of it.
    """

    tenant: str
    prompts: Sequence[CalibrationPrompt]
    arms: Sequence[Arm]
    grader: Grader
    max_usd: Decimal
    spent_usd: Decimal
    is_imported: bool
    max_answer_tokens: int
    concurrency: int


@dataclass(frozen=True, slots=True)
class CalibrationResult:
    """How a calibration ended.

    Args:
        is_capped: the dollars were not enough for all answers.
        rows: imported rows, by what became of them.
    """

    is_capped: bool
    rows: Mapping[str, int]
    report: Json


@dataclass(frozen=True, slots=True)
class Calibrator:
    """Asks, grades, reports and imports.

    Its calls are no requests: neither the budget, nor the circuit breakers, nor the statistics know of them.
    """

    catalog: Catalog
    model_client: ModelClient
    journal: Journal
    evidence: Evidence
    encoder: TextEncoder
    clock: Clock
    rng: np.random.Generator
    timeout_s: float
    default_temperature: float | None
    data_use: frozenset[str]

    async def run(
        self, job: CalibrationJob, call_journal: CallJournal, on_progress: OnProgress
    ) -> CalibrationResult:
        """Run the job. What the journal has is not paid for again.

        Raises:
            BadRequest: the grader can grade no arm.
            StartupError: the journal cannot be written.
            StoreUnavailable, EncoderError: the scores could not be imported; run it again.
        """
        calls = self._calls(job, call_journal)
        answers = await calibrate(
            job.prompts, job.arms, job.grader, calls, data_use=self.data_use, on_progress=on_progress
        )
        rows = await self._import(job, answers) if job.is_imported else {}
        report = await report_of(answers, self.encoder)
        if report.notes:
            log.warning("calibration_without_contexts", notes=report.notes)
        return CalibrationResult(calls.is_capped, rows, orjson.loads(as_json(report)))

    def estimate(self, job: CalibrationJob) -> Sequence[ArmEstimate]:
        """What the job would cost."""
        calls = self._calls(job, CallJournal())
        return estimate(job.prompts, job.arms, job.grader, calls, data_use=self.data_use)

    def _calls(self, job: CalibrationJob, call_journal: CallJournal) -> PaidCalls:
        return PaidCalls(
            self.model_client,
            call_journal,
            SpendingCap(job.max_usd, job.spent_usd),
            self.clock,
            self.rng,
            max_answer_tokens=job.max_answer_tokens,
            concurrency=job.concurrency,
            timeout_s=self.timeout_s,
            default_temperature=self.default_temperature,
        )

    async def _import(self, job: CalibrationJob, answers: Sequence[GradedAnswer]) -> Mapping[str, int]:
        importer = Importer(
            journal=self.journal,
            evidence=self.evidence,
            encoder=self.encoder,
            tenant=job.tenant,
            now=self.clock(),
            registrations=self.catalog.registrations,
        )
        added = await import_answers(importer, answers, {arm.arm_id: arm for arm in job.arms})
        return {str(how): n for how, n in added.items()}
