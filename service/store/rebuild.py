"""Evidence and experiences, recomputed from decisions, outcomes and events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from uuid import UUID

from service.store.experiences import experience_of
from service.store.pool import Connection, Database
from service.store.sums import add_sums, differences, sums_of
from service.types import ArmSums, Experience

_TIMEOUT_S = 3600.0  # it reads the whole log


async def evidence_differences(database: Database) -> dict[tuple[str, str], ArmSums]:
    """By (tenant, arm), what the events and outcomes have and the sums lack; empty: nothing.

    Raises StoreUnavailable.
    """
    async with database.transaction(timeout_s=_TIMEOUT_S) as connection:
        return await _differences(connection)


async def rebuild_evidence(database: Database) -> dict[tuple[str, str], ArmSums]:
    """Put right what differs, in one transaction that learners wait for; return what was added.

    Raises StoreUnavailable.
    """
    async with database.transaction(timeout_s=_TIMEOUT_S) as connection:
        await connection.execute(_KEEP_LEARNERS_OUT, timeout=_TIMEOUT_S)
        changes = await _differences(connection)
        for (tenant, arm_id), change in sorted(changes.items()):
            await add_sums(connection, tenant, {arm_id: change})
    return changes


# Learners write an event or an outcome before they touch a sum: in this order nobody waits in a circle.
_KEEP_LEARNERS_OUT = (
    "LOCK TABLE feedback_events, outcomes, shadow_answers, evidence IN SHARE ROW EXCLUSIVE MODE"
)

# Table and log in one statement, which sees both at one moment. An outcome counts when the arm itself
# answered, as do its answers in shadow, all in today's prices; of a decision's events the newest stands.
_HELD_AND_DUE = """
WITH outcome_sums AS (
    SELECT a.tenant, a.arm_id, count(*) AS n_outcomes, sum(a.latency_s) AS latency_s_sum,
        sum(todays_usd(a.arm_id, a.price_version, 1, a.cost_usd)) AS cost_usd_sum
    FROM (
        SELECT o.tenant, o.arm_id, o.price_version, o.latency_s, o.cost_usd
        FROM outcomes o
        JOIN decisions d ON d.decision_id = o.decision_id
        WHERE d.learn AND o.status = 'ok' AND o.kind <> 'cache'
        UNION ALL
        SELECT s.tenant, s.arm_id, s.price_version, s.latency_s, s.cost_usd
        FROM shadow_answers s
        WHERE s.status = 'ok'
    ) a
    GROUP BY a.tenant, a.arm_id
), current_events AS (
    SELECT DISTINCT ON (decision_id) decision_id, tenant, arm_id, reward, weight
    FROM feedback_events
    ORDER BY decision_id, event_id DESC
), reward_sums AS (
    SELECT e.tenant, e.arm_id, sum(e.weight) AS n, sum(e.weight * e.reward) AS reward_sum
    FROM current_events e
    JOIN decisions d ON d.decision_id = e.decision_id
    WHERE d.learn AND e.reward IS NOT NULL
    GROUP BY e.tenant, e.arm_id
)
SELECT false AS is_due, tenant, arm_id, n, reward_sum, n_outcomes, latency_s_sum, cost_usd_sum
FROM evidence
UNION ALL
SELECT true AS is_due, tenant, arm_id, coalesce(n, 0), coalesce(reward_sum, 0), coalesce(n_outcomes, 0),
    coalesce(latency_s_sum, 0), coalesce(cost_usd_sum, 0)
FROM outcome_sums FULL JOIN reward_sums USING (tenant, arm_id)
"""


async def _differences(connection: Connection) -> dict[tuple[str, str], ArmSums]:
    rows = await connection.fetch(_HELD_AND_DUE, timeout=_TIMEOUT_S)
    held = {(row["tenant"], row["arm_id"]): sums_of(row) for row in rows if not row["is_due"]}
    due = {(row["tenant"], row["arm_id"]): sums_of(row) for row in rows if row["is_due"]}
    return differences(held, due)


_EXPERIENCES = """
SELECT d.decision_id, d.tenant, d.request_id, d.encoder, d.context, d.decided_at,
    e.arm_id, e.reward, e.weight, coalesce(o.latency_s, 0) AS latency_s, coalesce(o.cost_usd, 0) AS cost_usd
FROM decisions d
JOIN LATERAL (
    SELECT arm_id, reward, weight
    FROM feedback_events f
    WHERE f.decision_id = d.decision_id
    ORDER BY event_id DESC
    LIMIT 1
) e ON e.reward IS NOT NULL
LEFT JOIN outcomes o ON o.decision_id = d.decision_id
WHERE d.encoder = $1 AND d.context IS NOT NULL AND d.learn
"""


async def experiences(database: Database, encoder: str) -> AsyncIterator[Experience]:
    """Every decision of one vector space that is rated now, as of one moment, in no order.

    Fetched a few at a time, however many there are. Raises StoreUnavailable.
    """
    async with database.transaction(timeout_s=_TIMEOUT_S) as connection:
        async for row in connection.cursor(_EXPERIENCES, encoder, prefetch=500, timeout=_TIMEOUT_S):
            yield experience_of(row)


# What learners queue meanwhile is as new or newer.
_ENQUEUE = """
INSERT INTO memory_queue (decision_id, tenant, event_id, queued_at)
SELECT d.decision_id, d.tenant, e.event_id, now()
FROM decisions d
JOIN LATERAL (
    SELECT event_id FROM feedback_events f WHERE f.decision_id = d.decision_id ORDER BY event_id DESC LIMIT 1
) e ON true
WHERE d.decision_id = ANY($1) AND d.encoder = $2 AND d.context IS NOT NULL AND d.learn
ORDER BY d.decision_id
ON CONFLICT (decision_id) DO UPDATE SET event_id = greatest(memory_queue.event_id, excluded.event_id)
RETURNING decision_id
"""


async def enqueue(database: Database, decision_ids: Collection[UUID], encoder: str) -> set[UUID]:
    """Queue these decisions for the memory, each with its newest event.

    Returns those that are queued: the others were never rated, or have no place in this vector space.
    Raises StoreUnavailable.
    """
    async with database.transaction(timeout_s=_TIMEOUT_S) as connection:
        rows = await connection.fetch(_ENQUEUE, list(decision_ids), encoder, timeout=_TIMEOUT_S)
    return {row["decision_id"] for row in rows}
