"""How many bytes PostgreSQL has stored and logged so far."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

# Tables with their TOAST, but without indexes; partitions are tables of their own.
_SIZES = """
    SELECT coalesce(sum(pg_table_size(oid)), 0)::bigint, pg_current_wal_lsn() - '0/0'::pg_lsn
    FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """Bytes of all tables, and of the write-ahead log."""

    tables: int
    wal: int

    def since(self, earlier: Stored) -> Stored:
        return Stored(self.tables - earlier.tables, self.wal - earlier.wal)


async def stored(dsn: str) -> Stored:
    connection = await asyncpg.connect(dsn)
    try:
        row = await connection.fetchrow(_SIZES)
        assert row is not None
        return Stored(int(row[0]), int(row[1]))
    finally:
        await connection.close()
