"""The rounds of a time range: the router's own decisions, with outcome and reward."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

from asyncpg import Record

from service.domain.decision import LoggedRound
from service.store.connection.pool import Database
from service.store.explanations import EXPLAINED, HAS_CANDIDATES, explanation_of

_TIMEOUT_S = 3600.0  # a statement may read the whole log

# Rewards are those of users' feedback, without implicit signals. Outcomes count if there was an answer.
# Decisions without candidates are excluded: all arms were cooling down. So are decisions in a conversation
# that already had an arm: not every arm could be drawn.
_ROUNDS = f"""
SELECT d.decided_at, d.arm_id, d.n_prompt_tokens, {EXPLAINED}, e.reward, o.latency_s,
    CASE WHEN NOT EXISTS (
        SELECT FROM attempts a WHERE a.decision_id = d.decision_id AND a.cost_source = 'unknown'
    ) THEN o.cost_usd END AS cost_usd
FROM decisions d
LEFT JOIN LATERAL (
    SELECT reward
    FROM feedback_events f
    WHERE f.decision_id = d.decision_id AND f.signal IS NULL AND f.reverted_by IS NULL
    ORDER BY event_id DESC
    LIMIT 1
) e ON true
LEFT JOIN outcomes o ON o.decision_id = d.decision_id AND o.status = 'ok'
WHERE d.tenant = $1 AND d.decided_at >= $2 AND d.decided_at < $3 AND d.learn AND d.dialect <> 'import'
    AND d.kind IN ('exploit', 'explore', 'default')
    AND {HAS_CANDIDATES}
    AND coalesce(d.explanation -> 'conversation' ->> 'previous_arm_id',
        d.explanation -> 'session' ->> 'held_arm_id') IS NULL
ORDER BY d.decided_at, d.decision_id
"""  # noqa: S608  # joins constants


async def rounds(
    database: Database, tenant: str, since: datetime, until: datetime
) -> AsyncIterator[LoggedRound]:
    """A tenant's rounds in order, as of one moment; fetched in batches.

    Raises StoreUnavailable.
    """
    async with database.as_tenant(tenant, timeout_s=_TIMEOUT_S, readonly=True) as connection:
        cursor = connection.cursor(_ROUNDS, tenant, since, until, prefetch=500, timeout=_TIMEOUT_S)
        async for row in cursor:
            yield _round(row)


def _round(row: Record) -> LoggedRound:
    return LoggedRound(
        decided_at=row["decided_at"],
        arm_id=row["arm_id"],
        n_prompt_tokens=row["n_prompt_tokens"],
        explanation=explanation_of(row),
        reward=_number(row["reward"]),
        cost_usd=_number(row["cost_usd"]),
        latency_s=_number(row["latency_s"]),
    )


def _number(value: object) -> float | None:
    return None if value is None else float(str(value))
