"""Opens PostgreSQL, keeps the embedded one running, and migrates the schema."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import structlog

from service.bootstrap.basics import Progress, cancel
from service.errors import StartupError, StoreBusy, StoreUnavailable
from service.settings.settings import Settings
from service.store.connection.embedded import EmbeddedPostgres
from service.store.connection.migrate import migrate
from service.store.connection.pool import Database

log = structlog.get_logger(__name__)

RETRY_S = 2.0


async def open_database(
    settings: Settings,
    data_dir: Path,
    stack: AsyncExitStack,
    progress: Progress,
    *,
    is_for_command: bool = False,
) -> Database:
    """Open PostgreSQL, and start it if it is embedded.

    Args:
        is_for_command: whether statements may take as long as those of a command, for which no request waits.
    """
    if settings.database_url is not None:
        database = _database(settings.database_url.get_secret_value(), settings, is_for_command)
        stack.push_async_callback(database.close)
        return database
    postgres = EmbeddedPostgres(data_dir)
    database = _database(await asyncio.to_thread(postgres.start, progress), settings, is_for_command)
    stack.push_async_callback(asyncio.to_thread, postgres.stop)
    stack.push_async_callback(database.close)
    stack.push_async_callback(cancel, asyncio.create_task(_keep_running(postgres, database)))
    return database


def _database(dsn: str, settings: Settings, is_for_command: bool) -> Database:
    return Database(
        dsn,
        max_connections=settings.database_max_connections,
        connect_timeout_s=settings.database_connect_timeout_s,
        busy_timeout_s=settings.database_busy_timeout_s,
        command_timeout_s=(
            settings.database_bulk_timeout_s if is_for_command else settings.database_statement_timeout_s
        ),
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


async def open_schema(database: Database, settings: Settings, stack: AsyncExitStack) -> None:
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
            cancel, asyncio.create_task(_migrate_when_available(settings.database_url.get_secret_value()))
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
