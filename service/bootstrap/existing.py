"""Opens PostgreSQL for commands that only read: nothing is created, and the schema stays as it is."""

from __future__ import annotations

from contextlib import AsyncExitStack

from service.bootstrap.basics import no_progress
from service.bootstrap.database import open_database
from service.errors import StartupError
from service.settings.settings import Settings
from service.store.connection.embedded import EmbeddedPostgres
from service.store.connection.migrate import require_schema
from service.store.connection.pool import Database


async def open_existing_database(settings: Settings, stack: AsyncExitStack) -> Database:
    """The database that a start has created.

    Raises:
        StartupError: there is none, or its schema is not that of this version.
        StoreUnavailable: PostgreSQL does not answer.
    """
    require_data(settings)
    database = await open_database(settings, settings.data_dir, stack, no_progress, is_for_command=True)
    await require_schema(database)
    return database


def require_data(settings: Settings) -> None:
    """Raises StartupError if the embedded PostgreSQL has never been started in DATA_DIR."""
    if not has_data(settings):
        folder = settings.data_dir.expanduser().resolve()
        raise StartupError(f"no data in DATA_DIR {folder}: is it the right one? `router serve` creates it")


def has_data(settings: Settings) -> bool:
    """Whether there is a database; of a server that is not asked."""
    return settings.database_url is not None or EmbeddedPostgres(settings.data_dir).is_created
