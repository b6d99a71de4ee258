"""What is used of limits, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from service.domain.limit import Amount, Passed, Standing
from service.store.connection.pool import Database


class PostgresLedger:
    """A Ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def hold(self, hold_id: UUID, amounts: Sequence[Amount], lease_s: float) -> list[Standing]:
        async with self._database.connection() as connection:
            rows = await connection.fetch(_HOLD, hold_id, *_columns(amounts), timedelta(seconds=lease_s))
        return [
            Standing(
                wanted.limit,
                row["used"],
                row["ends_in_s"],
                is_over=row["is_over"],
                under_way=row["under_way"],
                is_told=row["is_told"],
            )
            for wanted, row in zip(amounts, rows, strict=True)
        ]

    async def settle(self, hold_id: UUID, amounts: Sequence[Amount]) -> list[Passed]:
        async with self._database.connection() as connection:
            *columns, mosts = _columns(amounts)
            told = [most if a.limit.is_told_of else None for a, most in zip(amounts, mosts, strict=True)]
            rows = await connection.fetch(_SETTLE, hold_id, *columns, told)
        return [Passed(amounts[row["n"] - 1].limit, row["share"], row["used"]) for row in rows]

    async def prune(self) -> None:
        async with self._database.connection() as connection:
            await connection.execute(_PRUNE_HOLDS)
            await connection.execute(_PRUNE_USAGE)


def _columns(amounts: Sequence[Amount]) -> tuple[list[Any], ...]:
    limits = [amount.limit for amount in amounts]
    return (
        [str(limit.subject) for limit in limits],
        [limit.measure for limit in limits],
        [limit.period for limit in limits],
        [None if amount.amount is None else round(amount.amount, 9) for amount in amounts],
        [limit.most for limit in limits],
    )


_HOLD = "SELECT is_over, used, under_way, ends_in_s, is_told FROM hold_usage($1, $2, $3, $4, $5, $6, $7)"
_SETTLE = "SELECT n, share, used FROM settle_usage($1, $2, $3, $4, $5, $6)"
# A hold is kept beyond its lease: its request may still come to its end.
_PRUNE_HOLDS = "DELETE FROM limit_holds WHERE expires_at < now() - interval '1 day'"
_PRUNE_USAGE = """
DELETE FROM limit_usage
WHERE begins_at < now() - CASE period
    WHEN 'minute' THEN interval '2 days' WHEN 'day' THEN interval '1 year' ELSE interval '10 years' END
"""
