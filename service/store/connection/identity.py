"""What tells one database from every other one."""

from __future__ import annotations

from uuid import UUID

from service.store.connection.pool import Database

_IDENTITY = "SELECT database_identity()"


async def database_identity(database: Database) -> UUID:
    """The id of this database; a copy of it that was restored from a dump has another.

    A copy of the server's files, made while it has them, has the same.

    Raises StoreUnavailable: PostgreSQL does not answer, or is not migrated yet.
    """
    async with database.connection() as connection:
        identity: UUID = await connection.fetchval(_IDENTITY)
    return identity
