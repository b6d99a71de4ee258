"""Evidence, histories and experiences, recomputed from decisions, outcomes and events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from uuid import UUID

from bandit.history import History
from service.store.experiences import experience_of
from service.store.histories import folded, history_of, lock_histories, said_of, save_histories
from service.store.pool import Connection, Database
from service.store.sums import add_sums, differences, sums_of
from service.types import ArmSums, Experience

_TIMEOUT_S = 3600.0  # it reads the whole log


Arm = tuple[str, str]  # tenant, arm id


@dataclass(frozen=True, slots=True)
class EvidenceDifferences:
    """By arm: what must be added to its sums; the history it should have."""

    sums: dict[Arm, ArmSums]
    histories: dict[Arm, History]

    def __len__(self) -> int:
        return len(self.sums.keys() | self.histories.keys())


async def evidence_differences(database: Database) -> EvidenceDifferences:
    """What the events and outcomes say otherwise than sums and histories. Raises StoreUnavailable."""
    async with database.transaction(timeout_s=_TIMEOUT_S, at_one_moment=True) as connection:
        return await _differences(connection)


async def rebuild_evidence(database: Database) -> EvidenceDifferences:
    """Put right what differs, in one transaction that learners wait for; return what differed.

    Raises StoreUnavailable.
    """
    async with database.transaction(timeout_s=_TIMEOUT_S) as connection:
        await connection.execute(_KEEP_LEARNERS_OUT, timeout=_TIMEOUT_S)
        found = await _differences(connection)
        for (tenant, arm_id), history in sorted(found.histories.items(), key=_by_arm):
            await lock_histories(connection, tenant, [arm_id])
            await save_histories(connection, tenant, {arm_id: history})
        for (tenant, arm_id), change in sorted(found.sums.items(), key=_by_arm):
            await add_sums(connection, tenant, {arm_id: change})
    return found


def _by_arm(item: tuple[Arm, object]) -> Arm:
    return item[0]


# Learners write a history, then an event, or an outcome, before they touch a sum: in this order nobody waits
# in a circle.
_KEEP_LEARNERS_OUT = """
LOCK TABLE histories, feedback_events, outcomes, shadow_answers, evidence IN SHARE ROW EXCLUSIVE MODE
"""

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


async def _differences(connection: Connection) -> EvidenceDifferences:
    rows = await connection.fetch(_HELD_AND_DUE, timeout=_TIMEOUT_S)
    held = {(row["tenant"], row["arm_id"]): sums_of(row) for row in rows if not row["is_due"]}
    due = {(row["tenant"], row["arm_id"]): sums_of(row) for row in rows if row["is_due"]}
    return EvidenceDifferences(differences(held, due), await _other_histories(connection))


# Every event with the one before it of the same decision, in the order in which they were folded.
_EVENTS = """
SELECT e.tenant, e.arm_id, e.reward, e.weight, e.arm_before, e.reward_before, e.weight_before, e.is_first,
    d.decided_at, (d.explanation ->> 'n_rated')::float8 AS n_rated,
    d.explanation -> 'candidates' AS candidates
FROM (
    SELECT event_id, decision_id, tenant, arm_id, reward, weight,
        lag(arm_id) OVER earlier AS arm_before, lag(reward) OVER earlier AS reward_before,
        lag(weight) OVER earlier AS weight_before,
        count(reward) OVER (PARTITION BY decision_id, arm_id ORDER BY event_id
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) = 0 AS is_first
    FROM feedback_events
    WINDOW earlier AS (PARTITION BY decision_id ORDER BY event_id)
) e
JOIN decisions d ON d.decision_id = e.decision_id AND d.learn
ORDER BY e.event_id
"""
_HISTORIES = "SELECT * FROM histories"


async def _other_histories(connection: Connection) -> dict[Arm, History]:
    """The histories that the events give, where the table has others."""
    due: defaultdict[str, dict[str, History]] = defaultdict(dict)
    async for row in connection.cursor(_EVENTS, prefetch=500, timeout=_TIMEOUT_S):
        due[row["tenant"]].update(folded(due[row["tenant"]], said_of(row)))
    rows = await connection.fetch(_HISTORIES, timeout=_TIMEOUT_S)
    held = {(row["tenant"], row["arm_id"]): history_of(row) for row in rows}
    told = {(tenant, arm_id): history for tenant, of in due.items() for arm_id, history in of.items()}
    nothing = {arm: History() for arm in held.keys() - told.keys()}
    return {arm: history for arm, history in (told | nothing).items() if held.get(arm, History()) != history}


_EXPERIENCES = """
SELECT d.decision_id, d.tenant, d.request_id, d.encoder, d.context, d.decided_at, d.task,
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
