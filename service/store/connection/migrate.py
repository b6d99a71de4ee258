"""The schema: numbered SQL files, each applied once, in order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import structlog

from service.errors import StartupError
from service.store.connection.pool import Connection, Database

log = structlog.get_logger(__name__)

_TIMEOUT_S = 600.0  # a migration of a large table, or a wait for another replica


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered SQL file."""

    name: str
    sql: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def packaged_migrations() -> list[Migration]:
    """The files of the `migrations` package, in order."""
    files = [f for f in resources.files("migrations").iterdir() if f.name.endswith(".sql")]
    return [Migration(f.name.removesuffix(".sql"), f.read_text("utf-8")) for f in sorted(files, key=_name)]


async def migrate(database: Database, migrations: Sequence[Migration] | None = None) -> list[str]:
    """Bring the schema up to date; return the names of the applied migrations.

    Replicas that start at the same time wait for each other.

    Raises:
        StartupError: a migration was edited after it was applied, or the database is newer than this code.
        StoreUnavailable: PostgreSQL does not answer.
    """
    migrations = packaged_migrations() if migrations is None else migrations
    applied = []
    for migration in migrations:
        async with database.transaction(timeout_s=_TIMEOUT_S) as connection:
            known = await _lock_and_read(connection)
            _check(known, migrations)
            if migration.name in known:
                continue
            await connection.execute(migration.sql, timeout=_TIMEOUT_S)
            await connection.execute(_RECORD, migration.name, migration.sha256)
        log.info("migrated", migration=migration.name)
        applied.append(migration.name)
    return applied


async def require_schema(database: Database) -> None:
    """Check, without changing anything, that every migration is applied.

    Raises:
        StartupError: some are missing, or as for `migrate`.
        StoreUnavailable: PostgreSQL does not answer.
    """
    migrations = packaged_migrations()
    async with database.transaction() as connection:
        if await connection.fetchval("SELECT to_regclass('schema_migrations') IS NULL"):
            raise StartupError("the database holds no data of the router: is DATABASE_URL the right one?")
        known = {row["name"]: row["sha256"] for row in await connection.fetch(_READ)}
    _check(known, migrations)
    if missing := [migration.name for migration in migrations if migration.name not in known]:
        raise StartupError(f"the schema of the database lacks {', '.join(missing)}: run `router migrate`")


# One lock for all migrations of the database, until the transaction ends; the number is arbitrary.
_LOCK = "SELECT pg_advisory_xact_lock(7065190213)"
_CREATE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    name        text PRIMARY KEY,
    sha256      text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now()
)
"""
_READ = "SELECT name, sha256 FROM schema_migrations"


async def _lock_and_read(connection: Connection) -> dict[str, str]:
    await connection.execute(_LOCK, timeout=_TIMEOUT_S)
    if await connection.fetchval("SELECT to_regclass('schema_migrations') IS NULL"):
        await connection.execute(_CREATE)
    return {row["name"]: row["sha256"] for row in await connection.fetch(_READ)}


_RECORD = "INSERT INTO schema_migrations (name, sha256) VALUES ($1, $2)"


def _check(known: dict[str, str], migrations: Sequence[Migration]) -> None:
    ours = {migration.name: migration.sha256 for migration in migrations}
    for name, sha256 in sorted(known.items()):
        if name not in ours:
            raise StartupError(
                f"the database has migration {name}, which this version does not know: upgrade"
            )
        if ours[name] != sha256:
            raise StartupError(f"migration {name} was edited after it was applied; add a new one instead")


def _name(file: resources.abc.Traversable) -> str:
    return file.name
