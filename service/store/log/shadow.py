"""The answers of arms in shadow, and their daily budgets."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import asyncpg

from service.domain.arm import ArmSums
from service.domain.registration import ShadowAnswer
from service.store.connection.pool import Database
from service.store.connection.values import storable
from service.store.evidence.snapshot import Snapshot
from service.store.evidence.sums import (
    Billed,
    add_billed,
    nine_places,
    nine_places_or_zero,
    outcome_sums,
    six_places,
)


class PostgresShadowLog:
    """A ShadowLog.

    Args:
        store_texts: whether the texts of answers are written.
        snapshot: of the evidence, as in the journal.
    """

    def __init__(self, database: Database, *, store_texts: bool = False, snapshot: Snapshot) -> None:
        self._database = database
        self._store_texts = store_texts
        self._snapshot = snapshot

    async def reserve(self, arm_id: str, usd: Decimal, now: datetime) -> bool:
        async with self._database.connection() as connection:
            reserved = await connection.fetchval(
                _RESERVE, arm_id, nine_places(usd), now.astimezone(UTC).date()
            )
        return reserved is not None

    async def keep(self, answer: ShadowAnswer) -> None:
        attempt, tenant = answer.attempt, answer.tenant
        latency_s, cost_usd = six_places(attempt.latency_s), nine_places_or_zero(attempt.cost_usd)
        new = outcome_sums(attempt.status, "explore", latency_s, cost_usd, attempt.cost_source)
        try:
            async with self._database.transaction() as connection:
                # Lock the arm's row before the answer's, as a price change does.
                correction = _correction(answer)
                await connection.execute(_SETTLE, attempt.arm_id, correction, _day(attempt.started_at))
                await connection.execute(_INSERT, *self._values(answer))
                added = [] if new == ArmSums() else [Billed(attempt.arm_id, new, answer.price_version)]
                changed = await add_billed(connection, tenant, added)
        except asyncpg.ForeignKeyViolationError:
            return  # its decision is not written to PostgreSQL yet
        self._snapshot.put(tenant, changed)

    def _values(self, answer: ShadowAnswer) -> tuple[object, ...]:
        attempt = answer.attempt
        return (
            attempt.decision_id,
            answer.tenant,
            attempt.arm_id,
            attempt.status,
            attempt.started_at,
            six_places(attempt.latency_s),
            attempt.usage.prompt_tokens,
            attempt.usage.cached_tokens,
            attempt.usage.completion_tokens,
            attempt.usage.reasoning_tokens,
            attempt.usage.estimated,
            nine_places_or_zero(attempt.cost_usd),
            answer.price_version,
            storable(attempt.finish_reason),
            attempt.error_type,
            storable(attempt.error_message),
            attempt.upstream_status,
            storable(answer.text) if self._store_texts else None,
            attempt.usage.cache_write_tokens,
            attempt.cost_source,
        )


def _correction(answer: ShadowAnswer) -> Decimal:
    """Dollars to add to those reserved; a reservation for a cost that nobody knows stands."""
    cost_usd = answer.attempt.cost_usd
    return Decimal(0) if cost_usd is None else nine_places(cost_usd) - nine_places(answer.reserved_usd)


def _day(moment: datetime) -> date:
    return moment.astimezone(UTC).date()


# One statement, so that all replicas together stay within the daily budget.
_RESERVE = """
UPDATE arms
SET shadow_day = $3, shadow_day_usd = CASE WHEN shadow_day = $3 THEN shadow_day_usd ELSE 0 END + $2
WHERE arm_id = $1 AND state = 'shadow'
    AND CASE WHEN shadow_day = $3 THEN shadow_day_usd ELSE 0 END + $2 <= shadow_usd_per_day
RETURNING arm_id
"""
_SETTLE = """
UPDATE arms SET shadow_day_usd = shadow_day_usd + $2 WHERE arm_id = $1 AND shadow_day = $3
"""
_INSERT = """
INSERT INTO shadow_answers
    (decision_id, tenant, arm_id, status, started_at, latency_s, prompt_tokens, cached_tokens,
     completion_tokens, reasoning_tokens, usage_estimated, cost_usd, price_version, finish_reason, error_type,
     error_message, upstream_status, answer_text, cache_write_tokens, cost_source)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
"""
