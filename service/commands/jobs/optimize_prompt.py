"""The command `optimize`: open the log, the encoder and a running router, and optimise a prompt."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import httpx
from anyio.from_thread import start_blocking_portal

from optimizer.artifact import Provenance, artifact_of, write
from optimizer.calls import RouterCalls
from optimizer.rows import Row, rows_of
from optimizer.run import Optimised, optimise
from optimizer.scoring import Scoring
from optimizer.search import Search
from optimizer.similarity import Similarity
from service.arms.configured import choose_arms
from service.arms.known_models import known_models
from service.bootstrap.basics import no_progress
from service.bootstrap.existing import open_existing_database
from service.bootstrap.vectors import open_encoders
from service.calibration.asked_arms import require_promises
from service.calibration.grading.grader import Grader
from service.calibration.grading.named import grader_named
from service.commands.jobs.calibration_arms import CalibrationArms
from service.commands.jobs.running_router import RunningRouter
from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.clock import now
from service.domain.prompt import Prompt
from service.errors import StartupError
from service.providers.simulator.simulator import SIMULATED_ARMS
from service.settings.settings import Settings
from service.store.arm_registry import PostgresArmRegistry
from service.store.connection.pool import Database
from service.store.log.rated_requests import rated_requests

SIMILARITY = "similarity"
MAX_REQUESTS = 3_000  # the newest of the range


@dataclass(frozen=True, slots=True)
class OptimizeOptions:
    """What the command was told.

    Args:
        url: of the running router; None: the address in the settings.
        model: None: the default model. A variant's prompt is the prompt in use.
        proposer: None: the model itself.
        out: where the artifact is written if it is better, or in any case if `is_always_written`.
    """

    task: str
    tenant: str
    since: datetime
    budget_usd: Decimal
    grader: str
    model: str | None
    proposer: str | None
    search: Search
    url: str | None
    out: Path
    is_always_written: bool


@dataclass(frozen=True, slots=True)
class OptimizedPrompt:
    """The result, and the artifact that is, or would be, the file."""

    optimised: Optimised
    artifact: Json
    is_written: bool


@dataclass(frozen=True, slots=True)
class _Prepared:
    rows: tuple[Row, ...]
    grader: Grader
    arm: Arm
    start: Prompt
    proposer: Arm
    until: datetime


def optimize_prompt(
    settings: Settings, environ: Mapping[str, str], options: OptimizeOptions, say: Callable[[str], None]
) -> OptimizedPrompt:
    """Optimise, compare and write.

    The encoder and the graders run on a loop in a thread; DSPy runs in this one, where Ctrl-C ends it.

    Raises:
        StartupError: there are too few requests or dollars, or something cannot be opened.
        BadRequest: no model or grader has that name.
        StoreUnavailable: PostgreSQL does not answer.
    """
    router = RunningRouter.at(options.url, settings, environ)
    timeout_s = settings.request_deadline_s
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(_prepared(settings, environ, options)) as ready,
        httpx.Client(
            base_url=router.address, headers=router.headers, trust_env=False, timeout=timeout_s
        ) as http,
    ):
        calls = RouterCalls(http, options.budget_usd)
        scoring = Scoring(ready.grader, ready.arm, calls, portal.call)
        optimised = optimise(
            ready.rows, options.task, ready.arm, ready.proposer, ready.start, scoring, options.search, say
        )
    provenance = Provenance(
        task=options.task,
        tenant=options.tenant,
        since=options.since,
        until=ready.until,
        grader=options.grader,
        model=ready.arm.arm_id,
        proposer=ready.proposer.arm_id,
        start=ready.start.name if ready.start != Prompt() else None,
    )
    artifact = artifact_of(optimised, provenance, options.search, now())
    is_written = optimised.is_better or options.is_always_written
    if is_written:
        write(artifact, options.out)
    return OptimizedPrompt(optimised, artifact, is_written)


@asynccontextmanager
async def _prepared(
    settings: Settings, environ: Mapping[str, str], options: OptimizeOptions
) -> AsyncIterator[_Prepared]:
    async with AsyncExitStack() as stack:
        until = now()
        async with AsyncExitStack() as reading:
            database = await open_existing_database(settings, reading)
            known = await _known_arms(settings, environ, database)
            requests = await rated_requests(
                database, options.tenant, options.task, options.since, until, MAX_REQUESTS
            )
        if not requests and not settings.store_texts:
            raise StartupError(
                f"task {options.task!r} has no request with stored texts, because STORE_TEXTS is off; set "
                "STORE_TEXTS=true, and let requests with this task come and be rated"
            )
        grader = await _grader(settings, environ, options, known, stack)
        found = rows_of(requests, options.task, grader)
        found.require_enough(options.task, len(requests))
        named = known.catalog.known(options.model or known.catalog.default_arm_id)
        arm = named if named.prompt is None else _without_prompt(named, known)
        proposer = arm if options.proposer is None else known.catalog.known(options.proposer)
        if (reason := grader.reason_against_arm(arm)) is not None:
            raise StartupError(f"--grader {options.grader}: {arm.arm_id}: {reason}")
        yield _Prepared(found.rows, grader, arm, named.prompt or Prompt(), proposer, until)


async def _known_arms(settings: Settings, environ: Mapping[str, str], database: Database) -> CalibrationArms:
    registry = PostgresArmRegistry(database)
    await registry.refresh()
    configured = choose_arms(settings, environ, known_models(), SIMULATED_ARMS)
    return CalibrationArms.of(settings, environ, configured, registry.known)


def _without_prompt(variant: Arm, known: CalibrationArms) -> Arm:
    """The model that a variant is without its prompt, through which any prompt can be tried."""
    if variant.variant_of is None:
        raise StartupError(
            f"--model {variant.arm_id} has a prompt and no variant_of: name a model without a prompt"
        )
    return known.catalog.known(variant.variant_of)


async def _grader(
    settings: Settings,
    environ: Mapping[str, str],
    options: OptimizeOptions,
    known: CalibrationArms,
    stack: AsyncExitStack,
) -> Grader:
    if options.grader != SIMILARITY:
        return grader_named(options.grader, lambda name: _judge(known, name))
    encoders = await open_encoders(settings, environ, stack, no_progress, compares_meanings=True)
    return Similarity(encoders.meanings)


def _judge(known: CalibrationArms, name: str) -> Arm:
    """A judge is a model of the running router, which is asked through it."""
    arm = known.catalog.known(name, param="grader")
    require_promises(arm, frozenset(known.settings.required_data_use))
    return arm
