"""The command `calibrate`: have every model answer the same prompts, and learn from the scores."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

import numpy as np

from embeddings.encoder import EncoderError, TextEncoder
from service.arms.configured import choose_arms
from service.arms.known_models import known_models
from service.bootstrap.basics import no_progress
from service.bootstrap.database import open_database
from service.bootstrap.existing import has_data, open_existing_database
from service.bootstrap.providers import open_price_lists, open_provider_clients, priced
from service.bootstrap.vectors import open_encoders
from service.calibration.answers import GradedAnswer
from service.calibration.calls import MAX_ANSWER_TOKENS, PaidCalls
from service.calibration.cap import SpendingCap
from service.calibration.estimate import ArmEstimate, estimate
from service.calibration.evidence import import_answers
from service.calibration.grading.grader import Grader
from service.calibration.grading.named import JudgeOptions, grader_named
from service.calibration.journal import CallJournal, open_journal
from service.calibration.kept_prompts import KeptPrompts
from service.calibration.prompts import CalibrationPrompt, read_prompts
from service.calibration.report.encoded import report_of
from service.calibration.report.report import CalibrationReport
from service.calibration.run import OnProgress, calibrate
from service.calibration.sampling import LogSampler
from service.commands.jobs.calibration_arms import CalibrationArms
from service.commands.jobs.log_prompts import LogSample, kept_prompts, log_prompts
from service.domain.arm import Arm
from service.domain.clock import now
from service.domain.registration import ArmRegistration
from service.errors import StartupError
from service.learning.importing.importer import Added, Importer
from service.providers.simulator.simulator import SIMULATED_ARMS
from service.settings.settings import Settings
from service.store.arm_registry import PostgresArmRegistry
from service.store.connection.migrate import migrate
from service.store.connection.pool import Database
from service.store.evidence.evidence import PostgresEvidence
from service.store.log.journal import PostgresJournal
from service.store.log.request_bodies import PostgresRequestBodies


@dataclass(frozen=True, slots=True)
class CalibrationOptions:
    """What the command was told.

    Args:
        prompts: a file of them, or which of the log.
        models: ids or aliases; empty: all models in use.
        max_usd: None: nothing is asked.
        tenant: whose evidence the scores become.
        journal: None: beside the prompts, or in DATA_DIR.
        max_answer_tokens: None: LLM_MAX_TOKENS, or MAX_ANSWER_TOKENS.
    """

    prompts: Path | LogSample
    models: Sequence[str]
    grader: str
    judge: JudgeOptions
    max_usd: Decimal | None
    tenant: str
    is_imported: bool
    journal: Path | None
    max_answer_tokens: int | None
    concurrency: int


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The graded answers, what they cost, how many rows were imported, and how the models compare.

    Args:
        is_capped: the dollars were not enough for all answers.
    """

    answers: Sequence[GradedAnswer]
    arms: Sequence[Arm]
    spent_usd: Decimal
    is_capped: bool
    n_added: Mapping[Added, int] = field(default_factory=dict)
    report: CalibrationReport | None = None


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A calibration of which everything is checked and nothing is spent; encoder: if it is needed."""

    prompts: Sequence[CalibrationPrompt]
    arms: tuple[Arm, ...]
    grader: Grader
    calls: PaidCalls
    data_use: frozenset[str]
    importer: Importer | None
    encoder: TextEncoder | None
    kept: KeptPrompts


async def run_calibration(
    settings: Settings, environ: Mapping[str, str], options: CalibrationOptions, on_progress: OnProgress
) -> Calibrated:
    """Check everything, ask and grade, import the scores, and compare the models.

    Raises:
        StartupError: a prompt breaks a rule, or something cannot be opened; nothing was spent.
        BadRequest: no model or grader has that name; nothing was spent.
        StoreUnavailable: PostgreSQL stopped answering; the same command goes on without paying again.
    """
    async with _prepared(settings, environ, options) as ready:
        answers = await calibrate(
            ready.prompts,
            ready.arms,
            ready.grader,
            ready.calls,
            data_use=ready.data_use,
            on_progress=on_progress,
        )
        n_added = {} if ready.importer is None else await _import(ready.importer, answers, ready.arms)
        report = await report_of(answers, ready.encoder) if answers and ready.encoder else None
        if not ready.calls.is_capped:
            ready.kept.forget()
        calls = ready.calls
        return Calibrated(answers, ready.arms, calls.cap.spent_usd, calls.is_capped, n_added, report)


async def estimate_calibration(
    settings: Settings, environ: Mapping[str, str], options: CalibrationOptions
) -> Sequence[ArmEstimate]:
    """Check everything, and estimate what it would cost. Raises as `run_calibration` does."""
    async with _prepared(settings, environ, options) as ready:
        return estimate(ready.prompts, ready.arms, ready.grader, ready.calls, data_use=ready.data_use)


@asynccontextmanager
async def _prepared(
    settings: Settings, environ: Mapping[str, str], options: CalibrationOptions
) -> AsyncIterator[_Prepared]:
    if options.is_imported and not settings.enable_persistence and settings.database_url is None:
        raise StartupError("ENABLE_PERSISTENCE is false: imported rows would not be kept; add --no-import")
    async with AsyncExitStack() as stack:
        configured = await priced(
            choose_arms(settings, environ, known_models(), SIMULATED_ARMS),
            open_price_lists(settings, environ, stack),
        )
        database = await _database(settings, stack, is_written=options.is_imported)
        registrations = await _registrations(database)
        known = CalibrationArms.of(settings, environ, configured, registrations)
        arms = known.chosen(options.models)
        grader = grader_named(options.grader, known.judge, options.judge)
        source = options.prompts
        prompts = read_prompts(source, grader.reason_against) if isinstance(source, Path) else []
        path = _journal_path(settings, options)
        is_encoded = options.max_usd is not None or isinstance(source, LogSample)
        encoder = await _encoder(settings, environ, stack) if is_encoded else None
        importer = None
        if options.is_imported and database is not None and encoder is not None:
            importer = _importer(settings, database, encoder, registrations, options.tenant)
        is_spent = options.max_usd is not None
        journal = _journal(settings, path, stack, is_written=is_spent)
        kept = kept_prompts(path, options.tenant, options.grader, source)
        if isinstance(source, LogSample) and encoder is not None:
            sampler = _sampler(settings, database, encoder)
            prompts = await log_prompts(
                sampler, source, options.tenant, kept, grader, now(), is_kept=is_spent
            )
        calls = PaidCalls(
            await open_provider_clients(
                settings, replace(configured, arms=(*configured.arms, *arms)), environ, stack
            ),
            journal,
            SpendingCap(options.max_usd, journal.spent_usd),
            now,
            np.random.default_rng(),
            max_answer_tokens=options.max_answer_tokens or settings.llm_max_tokens or MAX_ANSWER_TOKENS,
            concurrency=options.concurrency,
            timeout_s=settings.request_deadline_s,
            default_temperature=settings.llm_temperature,
        )
        data_use = frozenset(settings.required_data_use)
        yield _Prepared(prompts, arms, grader, calls, data_use, importer, encoder, kept)


async def _database(settings: Settings, stack: AsyncExitStack, *, is_written: bool) -> Database | None:
    """The database; None: there is none yet, and nothing is to be written."""
    if is_written:
        database = await open_database(settings, settings.data_dir, stack, no_progress, is_for_command=True)
        await migrate(database)
        return database
    return await open_existing_database(settings, stack) if has_data(settings) else None


async def _registrations(database: Database | None) -> Mapping[str, ArmRegistration]:
    """What was set at runtime, by arm id."""
    if database is None:
        return {}
    registry = PostgresArmRegistry(database)
    await registry.refresh()
    return registry.known


def _importer(
    settings: Settings,
    database: Database,
    encoder: TextEncoder,
    registrations: Mapping[str, ArmRegistration],
    tenant: str,
) -> Importer:
    return Importer(
        journal=PostgresJournal(database, store_texts=settings.store_texts),
        evidence=PostgresEvidence(database),
        encoder=encoder,
        tenant=tenant,
        now=now(),
        registrations=registrations,
    )


async def _import(
    importer: Importer, answers: Sequence[GradedAnswer], arms: Sequence[Arm]
) -> Mapping[Added, int]:
    try:
        return await import_answers(importer, answers, {arm.arm_id: arm for arm in arms})
    except EncoderError as error:
        raise StartupError(f"the encoder failed, and the answers are in the journal: {error}") from error


async def _encoder(settings: Settings, environ: Mapping[str, str], stack: AsyncExitStack) -> TextEncoder:
    return (await open_encoders(settings, environ, stack, no_progress)).decisions


def _sampler(settings: Settings, database: Database | None, encoder: TextEncoder) -> LogSampler:
    if database is None:
        raise StartupError("--from-log: there is no log yet")
    return LogSampler(PostgresRequestBodies(database), encoder, settings.store_texts)


def _journal_path(settings: Settings, options: CalibrationOptions) -> Path:
    """The journal: as told, beside the file of prompts, or in DATA_DIR."""
    if options.journal is not None:
        return options.journal
    if isinstance(options.prompts, Path):
        return options.prompts.with_name(f"{options.prompts.name}.journal")
    return settings.data_dir / "calibrations" / "from-log.journal"


def _journal(settings: Settings, path: Path, stack: AsyncExitStack, *, is_written: bool) -> CallJournal:
    """The journal; one that does not exist is only created to be written."""
    if not is_written and not path.exists():
        return CallJournal()
    if path.is_relative_to(settings.data_dir):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StartupError(f"DATA_DIR: cannot write {path.parent}: {error.strerror}") from error
    return stack.enter_context(open_journal(path))
