"""Opens every part of the service in the order of its dependencies, and closes them in reverse."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import structlog

from service.arms.configured import choose_arms
from service.arms.known_models import known_models
from service.arms.relayed_models import choose_relayed_models
from service.arms.unknown_prices import require_known_prices
from service.background import Background
from service.bootstrap.access import key_digests
from service.bootstrap.basics import Progress, cancel, no_progress
from service.bootstrap.classifiers import open_classifiers
from service.bootstrap.database import open_database, open_schema
from service.bootstrap.logins import open_logins
from service.bootstrap.memory import fill_memory, open_memory
from service.bootstrap.providers import (
    open_embedding_client,
    open_key_checker,
    open_moderation_client,
    open_price_lists,
    open_provider_clients,
    priced,
)
from service.bootstrap.vectors import open_encoders
from service.bootstrap.wire import wire
from service.callbacks.functions import functions_named
from service.domain.clock import now
from service.domain.feedback import RevisionLimits
from service.domain.ports import ModelClient
from service.errors import StartupError, StoreUnavailable
from service.heap import trim_heap
from service.learning.learner import Learner
from service.loop_lag import LoopLag
from service.memory.edge import EdgeMemory
from service.parts import Parts
from service.policies.classifiers.by_meaning import ByMeaning
from service.policies.configured import policies_of
from service.private_files import tighten
from service.providers.logged_in import LoggedInClient
from service.providers.simulator.simulator import SIMULATED_ARMS
from service.providers.tokenizers import ShippedTokenizers
from service.routing.budget import N_PRICED, N_RESUMED, resume
from service.settings.settings import Settings
from service.store.api_keys import PostgresApiKeyStore
from service.store.arm_registry import PostgresArmRegistry
from service.store.connection.embedded import clear_abandoned
from service.store.connection.pool import Database
from service.store.connection.shared_time import follow_time, tell_time
from service.store.evidence.evidence import PostgresEvidence
from service.store.forgetting.retire import Retention
from service.store.limits import PostgresLedger
from service.store.log.cached_answers import PostgresAnswerStore
from service.store.log.calibrations import PostgresCalibrationStore
from service.store.log.conversations import PostgresConversationStates
from service.store.log.forgotten import PostgresForgottenDecisions
from service.store.log.journal import PostgresJournal
from service.store.log.request_bodies import PostgresRequestBodies
from service.store.log.responses import PostgresResponseStore
from service.store.log.shadow import PostgresShadowLog
from service.store.log.spends import newest_spends
from service.store.log.traffic import PostgresReports
from service.store.spool.spool import Spool
from service.store.spool.spooling_journal import SpoolingJournal

log = structlog.get_logger(__name__)

_TEMPORARY = "llm-router-passing-"  # prefix of the folders that are deleted when their process ends
DRAIN_TIMEOUT_S = 5.0


@asynccontextmanager
async def open_parts(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    progress: Progress = no_progress,
    model_client: ModelClient | None = None,
) -> AsyncIterator[Parts]:
    """Build every part in the order of its dependencies; close the parts in reverse order.

    Args:
        environ: environment variables, which hold the keys of the providers.
        progress: called with a message before each slow step.
        model_client: calls the models; None: the clients of the real providers.

    Raises:
        StartupError: a dependency is missing or misconfigured; the message is one line.
    """
    async with AsyncExitStack() as stack:
        functions_named(settings.callbacks, environ)  # so that a fault stops the start at once
        arms = choose_arms(settings, environ, known_models(), SIMULATED_ARMS)
        relayed = choose_relayed_models(settings, environ)
        policies_of(settings, arms.arms, environ)  # a fault stops the start before anything is opened
        arms = replace(arms, left_out=(*arms.left_out, *relayed.left_out))
        price_lists = open_price_lists(settings, environ, stack)
        pricing = asyncio.create_task(priced(arms, price_lists))  # while the stores open
        stack.push_async_callback(cancel, pricing)
        data_dir = await _data_dir(settings, stack)
        database = await open_database(settings, data_dir, stack, progress)
        await open_schema(database, settings, stack)
        await tell_time(database, now.set_to)
        encoders = await open_encoders(settings, environ, stack, progress)
        encoder = encoders.decisions
        classifiers = await open_classifiers(settings, environ, encoders.meanings, stack)
        if encoders.meanings is not encoder:
            timeout_s = settings.embedding_timeout_s
            classifiers = tuple(ByMeaning(each, encoders.meanings, timeout_s) for each in classifiers)
        memory = await open_memory(settings, environ, data_dir, encoder, database, stack)
        if model_client is None:
            model_client = await open_provider_clients(settings, arms, environ, stack)
        logins = await open_logins(settings, environ, data_dir, database, stack)
        if logins is not None:
            model_client = LoggedInClient(model_client, logins.keeper)
        limits = RevisionLimits(
            timedelta(days=settings.feedback_revision_days), settings.feedback_max_revisions
        )
        evidence = PostgresEvidence(database, limits)
        await evidence.start()
        stack.push_async_callback(evidence.close)
        journal = await _open_journal(settings, data_dir, database, evidence, stack)
        arms = await pricing
        require_known_prices(arms.arms, settings.budget_usd_per_request)
        arm_registry = PostgresArmRegistry(database)
        background = Background()
        request_bodies = PostgresRequestBodies(database)
        parts = wire(
            settings,
            arms,
            encoder=encoder,
            meanings=encoders.meanings,
            memory=memory,
            evidence=evidence,
            journal=journal,
            arm_registry=arm_registry,
            api_key_store=PostgresApiKeyStore(database),
            key_digests=await key_digests(settings, data_dir),
            shadow_log=PostgresShadowLog(
                database, store_texts=settings.store_texts, snapshot=evidence.snapshot
            ),
            ledger=PostgresLedger(database),
            conversation_states=PostgresConversationStates(database),
            response_store=PostgresResponseStore(database),
            answer_store=PostgresAnswerStore(database),
            calibration_store=PostgresCalibrationStore(database),
            request_bodies=request_bodies,
            forgotten_decisions=PostgresForgottenDecisions(database),
            reports=PostgresReports(database),
            database=database,
            environ=environ,
            price_lists=price_lists,
            key_checker=open_key_checker(environ, stack),
            tokenizers=ShippedTokenizers(),
            model_client=model_client,
            relayed=relayed,
            embedding_client=open_embedding_client(environ, stack),
            moderation_client=open_moderation_client(environ, stack),
            own_encoder=encoders.clients,
            classifiers=classifiers,
            background=background,
            data_dir=data_dir,
            rng=np.random.default_rng(),
            clock=now,
            logins=logins,
        )
        await parts.keyring.start()
        stack.push_async_callback(parts.keyring.close)
        parts.time = now
        await arm_registry.start([arm.arm_id for arm in arms.arms], parts.lifecycle.follow)
        stack.push_async_callback(arm_registry.close)
        if settings.log_texts:
            log.warning("texts_are_logged", only_if="LOG_LEVEL is debug", log_level=settings.log_level)
        for arm in parts.catalog.unpriced:
            log.warning("price_not_known", model=arm.arm_id)
        await _resume_budget(parts, database)
        if settings.check_keys:
            background.spawn(parts.keys.check(parts.catalog.arms))  # without delaying the start
        if isinstance(memory, EdgeMemory) and memory.set_aside is not None:
            parts.notes = (
                f"the embedded memory was damaged and began empty; its files are in {memory.set_aside}",
            )
        for endless in (
            _fill_and_sweep(parts.learner, database, settings),
            parts.learner.make_contexts_forever(),
            parts.forgetting.sweep_forever(),
            parts.router.affinity.prune_forever(),
            parts.responses.prune_forever(),
            parts.meter.settle_forever(),
            parts.meter.prune_forever(),
            request_bodies.prune_forever(now, settings.response_ttl_s),
            follow_time(database, now.set_to),
        ):
            stack.push_async_callback(cancel, asyncio.create_task(endless))
        if settings.retention_days is not None:
            retention = Retention(database, settings.retention_days)
            stack.push_async_callback(cancel, asyncio.create_task(retention.retire_forever(now)))
        if parts.completion.cache is not None:
            pruning = asyncio.create_task(parts.completion.cache.prune_forever())
            stack.push_async_callback(cancel, pruning)
        stack.callback(LoopLag(parts.metrics.loop_lagged).stop)
        stack.push_async_callback(parts.callbacks.close)
        stack.push_async_callback(background.drain, DRAIN_TIMEOUT_S)
        stack.push_async_callback(parts.calibrations.close)
        trim_heap()
        yield parts


async def _fill_and_sweep(learner: Learner, database: Database, settings: Settings) -> None:
    """Keep the memory up to date; what it lacks is seen before the sweep adds to it."""
    await fill_memory(database, learner.memory, learner.encoder, settings.memory_points_per_arm)
    await learner.sweep_forever()


async def _resume_budget(parts: Parts, database: Database) -> None:
    """Restore the pacer from the newest spends; without PostgreSQL it keeps its initial state."""
    router = parts.router
    if router.pacer.budget_usd is None:
        return
    try:
        spends = await newest_spends(database, N_RESUMED, N_PRICED)
    except StoreUnavailable as error:
        log.warning("budget_not_resumed", error=str(error))
        return
    resume(router.pacer, spends, parts.catalog.registrations, router.knobs.feedback_weight, router.rng)


async def _data_dir(settings: Settings, stack: AsyncExitStack) -> Path:
    """The folder of all data: DATA_DIR, or a folder that is deleted when the process ends."""
    try:
        if settings.enable_persistence:
            settings.data_dir.mkdir(parents=True, exist_ok=True)
            await asyncio.to_thread(tighten, settings.data_dir)
            return settings.data_dir
        await asyncio.to_thread(clear_abandoned, Path(tempfile.gettempdir()), _TEMPORARY)
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=_TEMPORARY)))
    except OSError as error:
        raise StartupError(f"DATA_DIR: cannot write {settings.data_dir}: {error.strerror}") from error


async def _open_journal(
    settings: Settings,
    data_dir: Path,
    database: Database,
    evidence: PostgresEvidence,
    stack: AsyncExitStack,
) -> SpoolingJournal:
    journal = SpoolingJournal(
        PostgresJournal(database, store_texts=settings.store_texts, snapshot=evidence.snapshot),
        Spool(
            data_dir / "spool",
            settings.spool_max_bytes,
            reserve_bytes=settings.spool_reserve_bytes,
            store_texts=settings.store_texts,
        ),
    )
    try:
        await journal.start()
    except OSError as error:
        raise StartupError(f"DATA_DIR: cannot use {data_dir / 'spool'}: {error.strerror}") from error
    stack.push_async_callback(journal.close)
    return journal
