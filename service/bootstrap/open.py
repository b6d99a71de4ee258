"""Opens and closes the dependencies of the service: stores, encoder, providers."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from embeddings.batching import BatchingEncoder
from embeddings.cache import CachedEncoder
from embeddings.encoder import Encoder, EncoderError, TextEncoder
from service.arms.configured import ArmList, choose_arms
from service.arms.known_models import known_models
from service.arms.provider_prices import with_provider_prices
from service.arms.unknown_prices import require_known_prices
from service.background import Background
from service.bootstrap.wire import wire
from service.domain.basics import DEFAULT_TENANT
from service.domain.ports import Memory, ModelClient
from service.domain.proxies import Proxies
from service.errors import StartupError, StoreBusy, StoreUnavailable
from service.memory.edge import EdgeMemory
from service.parts import Parts
from service.providers.clients import ProviderClients, build_provider_clients
from service.providers.default_options import DefaultOptions
from service.providers.key_checks import HttpKeyChecks
from service.providers.price_lists import HttpPriceLists
from service.providers.simulator.simulator import SIMULATED_ARMS, SimulatedClient
from service.providers.tokenizers import ShippedTokenizers
from service.routing.budget import N_PRICED, N_RESUMED, resume
from service.settings.settings import Settings
from service.settings.vendors import variables_of_litellm
from service.store.arm_registry import PostgresArmRegistry
from service.store.connection.embedded import EmbeddedPostgres, clear_abandoned
from service.store.connection.migrate import migrate
from service.store.connection.pool import Database
from service.store.evidence.evidence import PostgresEvidence
from service.store.log.conversations import PostgresConversationStates
from service.store.log.journal import PostgresJournal
from service.store.log.shadow import PostgresShadowLog
from service.store.log.spends import newest_spends
from service.store.log.traffic import PostgresReports
from service.store.spool.spool import Spool, SpoolingJournal

log = structlog.get_logger(__name__)

Progress = Callable[[str], None]
RETRY_S = 2.0
_TEMPORARY = "llm-router-passing-"  # prefix of the folders that are deleted when their process ends
DRAIN_TIMEOUT_S = 5.0
KEY_CHECK_TIMEOUT_S = 10.0
PRICE_LIST_TIMEOUT_S = 5.0  # a start waits no longer for the prices of providers


def no_progress(message: str) -> None:
    """Report no progress."""


def now() -> datetime:
    return datetime.now(UTC)


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
        arms = choose_arms(settings, environ, known_models(), SIMULATED_ARMS)
        price_lists = _open_price_lists(settings, environ, stack)
        pricing = asyncio.create_task(_priced(arms, price_lists))  # while the stores open
        stack.push_async_callback(_cancel, pricing)
        data_dir = await _data_dir(settings, stack)
        database = await open_database(settings, data_dir, stack, progress)
        await _migrate(database, settings, stack)
        encoder = await open_encoder(settings, environ, stack, progress)
        memory = await open_memory(settings, environ, data_dir, encoder, stack)
        if model_client is None:
            model_client = await _open_provider_clients(settings, arms, environ, stack)
        evidence = PostgresEvidence(database)
        await evidence.start()
        stack.push_async_callback(evidence.close)
        journal = await _open_journal(settings, data_dir, database, evidence, stack)
        arms = await pricing
        require_known_prices(arms.arms, settings.budget_usd_per_request)
        arm_registry = PostgresArmRegistry(database)
        background = Background()
        parts = wire(
            settings,
            arms,
            encoder=encoder,
            memory=memory,
            evidence=evidence,
            journal=journal,
            arm_registry=arm_registry,
            shadow_log=PostgresShadowLog(
                database, store_texts=settings.store_texts, snapshot=evidence.snapshot
            ),
            conversation_states=PostgresConversationStates(database),
            reports=PostgresReports(database),
            database=database,
            environ=environ,
            price_lists=price_lists,
            key_checker=_open_key_checker(environ, stack),
            tokenizers=ShippedTokenizers(),
            model_client=model_client,
            background=background,
            rng=np.random.default_rng(),
            clock=now,
        )
        await arm_registry.start([arm.arm_id for arm in arms.arms], parts.lifecycle.follow)
        stack.push_async_callback(arm_registry.close)
        for arm in parts.catalog.unpriced:
            log.warning("price_not_known", model=arm.arm_id)
        await _resume_budget(parts, database)
        if settings.check_keys:
            background.spawn(parts.keys.check(parts.catalog.arms))  # without delaying the start
        for endless in (parts.learner.sweep_forever(), parts.router.affinity.prune_forever()):
            stack.push_async_callback(_cancel, asyncio.create_task(endless))
        stack.push_async_callback(background.drain, DRAIN_TIMEOUT_S)
        yield parts


def _open_key_checker(environ: Mapping[str, str], stack: AsyncExitStack) -> HttpKeyChecks:
    checker = HttpKeyChecks(environ, now, timeout_s=KEY_CHECK_TIMEOUT_S)
    stack.push_async_callback(checker.close)
    return checker


def _open_price_lists(
    settings: Settings, environ: Mapping[str, str], stack: AsyncExitStack
) -> HttpPriceLists | None:
    """The reader of providers' price lists; None: it is switched off."""
    if not settings.price_lists:
        return None
    price_lists = HttpPriceLists(environ, now, timeout_s=PRICE_LIST_TIMEOUT_S)
    stack.push_async_callback(price_lists.close)
    return price_lists


async def _priced(arms: ArmList, price_lists: HttpPriceLists | None) -> ArmList:
    """The arms at the prices in their providers' lists."""
    if price_lists is None:
        return arms
    found = await with_provider_prices(arms.arms, price_lists)
    for note in found.notes:
        log.warning("price_list_not_read", reason=note)
    return replace(arms, arms=found.arms, notes=(*arms.notes, *found.notes))


async def _resume_budget(parts: Parts, database: Database) -> None:
    """Restore the pacer from the newest spends; without PostgreSQL it keeps its initial state."""
    router = parts.router
    if router.pacer.budget_usd is None:
        return
    try:
        spends = await newest_spends(database, DEFAULT_TENANT, N_RESUMED, N_PRICED)
    except StoreUnavailable as error:
        log.warning("budget_not_resumed", error=str(error))
        return
    resume(router.pacer, spends, parts.catalog.registrations, router.knobs.feedback_weight, router.rng)


async def _data_dir(settings: Settings, stack: AsyncExitStack) -> Path:
    """The folder of all data: DATA_DIR, or a folder that is deleted when the process ends."""
    try:
        if settings.enable_persistence:
            settings.data_dir.mkdir(parents=True, exist_ok=True)
            return settings.data_dir
        await asyncio.to_thread(clear_abandoned, Path(tempfile.gettempdir()), _TEMPORARY)
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=_TEMPORARY)))
    except OSError as error:
        raise StartupError(f"DATA_DIR: cannot write {settings.data_dir}: {error.strerror}") from error


async def open_database(
    settings: Settings, data_dir: Path, stack: AsyncExitStack, progress: Progress
) -> Database:
    if settings.database_url is not None:
        database = _database(settings.database_url.get_secret_value(), settings)
        stack.push_async_callback(database.close)
        return database
    postgres = EmbeddedPostgres(data_dir)
    database = _database(await asyncio.to_thread(postgres.start, progress), settings)
    stack.push_async_callback(asyncio.to_thread, postgres.stop)
    stack.push_async_callback(database.close)
    stack.push_async_callback(_cancel, asyncio.create_task(_keep_running(postgres, database)))
    return database


def _database(dsn: str, settings: Settings) -> Database:
    return Database(
        dsn,
        max_connections=settings.database_max_connections,
        statement_cache_size=settings.database_statement_cache_size,
    )


async def _keep_running(postgres: EmbeddedPostgres, database: Database) -> None:
    """Restart the embedded server when it has died."""
    while True:
        await asyncio.sleep(RETRY_S)
        try:
            with suppress(StoreUnavailable):
                with suppress(StoreBusy):
                    await database.ping()
                continue
            await asyncio.to_thread(postgres.start)
        except StartupError as error:
            log.error("postgresql_not_restarted", error=str(error))
        except Exception:
            log.exception("postgresql_not_restarted")


async def _migrate(database: Database, settings: Settings, stack: AsyncExitStack) -> None:
    """Migrate the schema; if a PostgreSQL server is unavailable, migrate as soon as it answers."""
    try:
        await migrate(database)
    except ValueError as error:  # the message of asyncpg may contain the password
        raise StartupError("DATABASE_URL must look like postgresql://user:password@host:5432/name") from error
    except StoreUnavailable as error:
        if settings.database_url is None:
            raise StartupError(f"embedded PostgreSQL does not answer: {error}") from error
        log.warning("postgresql_unavailable", error=str(error))
        stack.push_async_callback(
            _cancel, asyncio.create_task(_migrate_when_available(settings.database_url.get_secret_value()))
        )


async def _migrate_when_available(dsn: str) -> None:
    # Its own pool: the shared pool rejects calls after other queries have failed on missing tables.
    database = Database(dsn)
    try:
        while True:
            await asyncio.sleep(RETRY_S)
            try:
                await migrate(database)
                return
            except StoreUnavailable as error:
                log.debug("postgresql_unavailable", error=str(error))
            except StartupError as error:
                log.error("postgresql_not_migrated", error=str(error))
            except Exception:
                log.exception("postgresql_not_migrated")
    finally:
        await database.close()


async def open_encoder(
    settings: Settings, environ: Mapping[str, str], stack: AsyncExitStack, progress: Progress
) -> TextEncoder:
    try:
        encoder = await asyncio.to_thread(build_encoder, settings, environ, progress)
        if (close := getattr(encoder, "close", None)) is not None:  # an endpoint's has connections
            stack.callback(close)
        batching = BatchingEncoder(encoder)
        stack.push_async_callback(batching.close)
        await batching.encode("warm up before the first request")
    except EncoderError as error:
        raise StartupError(f"EMBEDDING_BACKEND {settings.embedding_backend}: {error}") from error
    return CachedEncoder(batching, settings.embedding_cache_size)


def build_encoder(settings: Settings, environ: Mapping[str, str], progress: Progress) -> Encoder:
    """The encoder that the settings name. Blocks while the encoder is built or loaded."""
    if settings.embedding_backend == "http":
        from embeddings.remote import RemoteEncoder

        key = settings.embedding_api_key
        return RemoteEncoder(
            settings.embedding_base_url or "",
            settings.embedding_model or "",
            key.get_secret_value() if key else None,
            settings.embedding_timeout_s,
            proxy=_proxy_for(settings.embedding_base_url, environ),
        )
    if settings.embedding_backend == "sentence-transformers":
        from embeddings.transformer import SentenceTransformerEncoder

        return SentenceTransformerEncoder(
            settings.embedding_model or "sentence-transformers/all-MiniLM-L6-v2"
        )
    from embeddings.minilm import MiniLM, build_minilm

    weights = Path(settings.embedding_model) if settings.embedding_model else None
    return MiniLM(build_minilm(settings.data_dir / "encoder", model_path=weights, progress=progress))


async def open_memory(
    settings: Settings,
    environ: Mapping[str, str],
    data_dir: Path,
    encoder: TextEncoder,
    stack: AsyncExitStack,
) -> Memory:
    memory: Memory
    if settings.qdrant_url is None:
        memory = await EdgeMemory.open(
            data_dir / "memory",
            encoder=encoder.name,
            dimension=encoder.dimension,
            max_points_per_arm=settings.memory_points_per_arm,
        )
    else:
        from service.memory.qdrant import QdrantMemory  # half of the import time is that of its client

        key = settings.qdrant_api_key
        memory = await QdrantMemory.connect(
            settings.qdrant_url,
            api_key=key.get_secret_value() if key else None,
            encoder=encoder.name,
            dimension=encoder.dimension,
            max_points_per_arm=settings.memory_points_per_arm,
            timeout_s=settings.memory_timeout_s,
            proxy=_proxy_for(settings.qdrant_url, environ),
        )
    stack.push_async_callback(memory.close)
    return memory


def _proxy_for(url: str | None, environ: Mapping[str, str]) -> str | None:
    """The proxy to a dependency. Raises StartupError."""
    try:
        return Proxies.of(environ).proxy_for(url or "")
    except ValueError as error:
        raise StartupError(str(error)) from error


async def _open_provider_clients(
    settings: Settings, arms: ArmList, environ: Mapping[str, str], stack: AsyncExitStack
) -> ProviderClients:
    os.environ.update(variables_of_litellm(environ))
    os.environ.update(Proxies.of(environ).variables(arm.base_url for arm in arms.arms if arm.base_url))
    defaults = DefaultOptions(settings.llm_temperature, settings.llm_max_tokens)
    clients = build_provider_clients(environ, now, simulator=SimulatedClient(), defaults=defaults)
    stack.push_async_callback(clients.close)
    await clients.warm({arm.provider for arm in arms.arms})
    return clients


async def _open_journal(
    settings: Settings,
    data_dir: Path,
    database: Database,
    evidence: PostgresEvidence,
    stack: AsyncExitStack,
) -> SpoolingJournal:
    journal = SpoolingJournal(
        PostgresJournal(database, store_texts=settings.store_texts, snapshot=evidence.snapshot),
        Spool(data_dir / "spool", settings.spool_max_bytes, store_texts=settings.store_texts),
    )
    await journal.start()
    stack.push_async_callback(journal.close)
    return journal


async def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
