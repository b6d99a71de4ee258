"""Evidence, histories and experiences, recomputed from decisions, outcomes and events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from asyncpg import Record

from bandit.drift import ArmHistory
from service.domain.arm import ArmSums
from service.domain.feedback import Experience
from service.store.connection.pool import Connection, Database
from service.store.evidence.experiences import ALL, experience_of
from service.store.evidence.histories import (
    RecordedFeedback,
    folded,
    history_of,
    lock_histories,
    save_histories,
)
from service.store.evidence.standing_feedback import Event, reward_of, standing_feedback_of
from service.store.evidence.sums import add_sums, differences, standing_sums, sums_of

_TIMEOUT_S = 3600.0  # it reads the whole log


Arm = tuple[str, str]  # tenant, arm id


@dataclass(frozen=True, slots=True)
class EvidenceDifferences:
    """By arm: what must be added to its sums; the history it should have."""

    sums: dict[Arm, ArmSums]
    histories: dict[Arm, ArmHistory]

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

# An outcome counts when the arm itself answered, as do its answers in shadow, all in today's prices.
_OUTCOME_SUMS = """
SELECT a.tenant, a.arm_id, 0::numeric AS n, 0::numeric AS reward_sum, count(*) AS n_outcomes,
    sum(a.latency_s) AS latency_s_sum,
    sum(todays_usd(a.arm_id, a.price_version, 1, a.cost_usd)) AS cost_usd_sum
FROM (
    SELECT o.tenant, o.arm_id, o.price_version, o.latency_s,
        coalesce(o.call_cost_usd, o.cost_usd) AS cost_usd
    FROM outcomes o
    JOIN decisions d ON d.decision_id = o.decision_id
    WHERE d.learn AND o.status = 'ok' AND o.kind <> 'cache'
    UNION ALL
    SELECT s.tenant, s.arm_id, s.price_version, s.latency_s, s.cost_usd
    FROM shadow_answers s
    WHERE s.status = 'ok'
) a
GROUP BY a.tenant, a.arm_id
"""
_EVIDENCE = "SELECT * FROM evidence"


async def _differences(connection: Connection) -> EvidenceDifferences:
    """Of several statements, which see all tables at one moment, or lock them."""
    told = await _told(connection)
    outcomes = await connection.fetch(_OUTCOME_SUMS, timeout=_TIMEOUT_S)
    _add(told.sums, {(row["tenant"], row["arm_id"]): sums_of(row) for row in outcomes})
    rows = await connection.fetch(_EVIDENCE, timeout=_TIMEOUT_S)
    held = {(row["tenant"], row["arm_id"]): sums_of(row) for row in rows}
    return EvidenceDifferences(
        differences(held, told.sums), await _other_histories(connection, told.histories)
    )


# Every event with what stood before it of the same decision, in the order in which they were folded.
_EVENTS = """
SELECT e.tenant, e.event_arm_id, e.event_reward, e.event_weight, e.signal, e.signal_arms, e.signal_weights,
    e.is_first, said.arm_id, said.reward, said.weight, d.decided_at,
    (d.explanation ->> 'n_rated')::float8 AS n_rated, d.explanation -> 'candidates' AS candidates
FROM (
    SELECT event_id, decision_id, tenant, arm_id AS event_arm_id, reward AS event_reward,
        weight AS event_weight, signal,
        max(event_id) FILTER (WHERE signal IS NULL) OVER earlier AS said_before,
        coalesce(array_agg(arm_id) FILTER (WHERE signal IS NOT NULL) OVER earlier, '{}') AS signal_arms,
        coalesce(array_agg(weight) FILTER (WHERE signal IS NOT NULL) OVER earlier, '{}') AS signal_weights,
        count(reward) FILTER (WHERE signal IS NULL) OVER (PARTITION BY decision_id, arm_id ORDER BY event_id
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) = 0 AS is_first
    FROM feedback_events
    WINDOW earlier AS (PARTITION BY decision_id ORDER BY event_id
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
) e
JOIN decisions d ON d.decision_id = e.decision_id AND d.learn
LEFT JOIN feedback_events said ON said.event_id = e.said_before
ORDER BY e.event_id
"""


@dataclass(frozen=True, slots=True)
class _Told:
    """What the events give, by arm."""

    sums: dict[Arm, ArmSums]
    histories: dict[Arm, ArmHistory]


async def _told(connection: Connection) -> _Told:
    sums: dict[Arm, ArmSums] = {}
    histories: defaultdict[str, dict[str, ArmHistory]] = defaultdict(dict)
    async for row in connection.cursor(_EVENTS, prefetch=500, timeout=_TIMEOUT_S):
        tenant, said = row["tenant"], _said_of(row)
        histories[tenant].update(folded(histories[tenant], said))
        changes = differences(standing_sums(said.before), standing_sums(said.after))
        _add(sums, {(tenant, arm_id): change for arm_id, change in changes.items()})
    return _Told(
        sums, {(tenant, arm_id): one for tenant, of in histories.items() for arm_id, one in of.items()}
    )


def _said_of(row: Record) -> RecordedFeedback:
    before = standing_feedback_of(row)
    reward = reward_of(row["event_reward"], row["event_weight"])
    return RecordedFeedback(
        decided_at=row["decided_at"],
        n_rated=row["n_rated"],
        candidates=row["candidates"],
        before=before,
        after=before.after(Event(row["event_arm_id"], reward, row["signal"])),
        is_first=row["is_first"],
    )


def _add(sums: dict[Arm, ArmSums], changes: Mapping[Arm, ArmSums]) -> None:
    for arm, change in changes.items():
        sums[arm] = sums.get(arm, ArmSums()) + change


_HISTORIES = "SELECT * FROM histories"


async def _other_histories(connection: Connection, told: Mapping[Arm, ArmHistory]) -> dict[Arm, ArmHistory]:
    """The histories that the events give, where the table has others."""
    rows = await connection.fetch(_HISTORIES, timeout=_TIMEOUT_S)
    held = {(row["tenant"], row["arm_id"]): history_of(row) for row in rows}
    due = {**dict.fromkeys(held, ArmHistory()), **told}
    return {arm: history for arm, history in due.items() if held.get(arm, ArmHistory()) != history}


async def experiences(database: Database, encoder: str) -> AsyncIterator[Experience]:
    """Every decision of one vector space to be remembered now, as of one moment, in no order.

    Fetched a few at a time, however many there are. Raises StoreUnavailable.
    """
    async with database.transaction(timeout_s=_TIMEOUT_S) as connection:
        async for row in connection.cursor(ALL, encoder, prefetch=500, timeout=_TIMEOUT_S):
            if (experience := experience_of(row)) is not None:
                yield experience


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
