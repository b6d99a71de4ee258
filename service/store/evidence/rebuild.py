"""Recomputes evidence, histories and experiences from decisions, outcomes and events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from asyncpg import Record

from bandit.drift import ArmHistory
from service.domain.arm import ArmSums
from service.domain.feedback import Experience, Rater
from service.store.connection.pool import Connection, Database
from service.store.evidence.experiences import ALL, JOINS, OF_TENANT, experience_of
from service.store.evidence.histories import (
    RecordedFeedback,
    folded,
    history_of,
    lock_histories,
    save_histories,
)
from service.store.evidence.retired import retired_sums
from service.store.evidence.standing_feedback import Event, reward_of, standing_feedback_of
from service.store.evidence.sums import add_sums, differences, standing_sums, sums_of
from service.store.explanations import WEIGHED, explanation_of

REBUILD_TIMEOUT_S = 3600.0  # a statement may read the whole log

Arm = tuple[str, str]  # tenant, arm id


@dataclass(frozen=True, slots=True)
class EvidenceDifferences:
    """By arm: the sums to add, and the history to store instead."""

    sums: dict[Arm, ArmSums]
    histories: dict[Arm, ArmHistory]

    def __len__(self) -> int:
        return len(self.sums.keys() | self.histories.keys())


async def evidence_differences(database: Database) -> EvidenceDifferences:
    """Compare sums and histories with the events and outcomes. Raises StoreUnavailable."""
    async with database.transaction(timeout_s=REBUILD_TIMEOUT_S, at_one_moment=True) as connection:
        return await _differences(connection)


async def rebuild_evidence(database: Database) -> EvidenceDifferences:
    """Repair the differences in one transaction, which blocks learning; return the differences.

    Raises StoreUnavailable.
    """
    async with database.transaction(timeout_s=REBUILD_TIMEOUT_S) as connection:
        await block_learning(connection)
        return await repair_evidence(connection)


async def block_learning(connection: Connection) -> None:
    """Let no feedback and no outcome be written until the transaction ends."""
    await connection.execute(_BLOCK_LEARNING, timeout=REBUILD_TIMEOUT_S)


async def repair_evidence(connection: Connection) -> EvidenceDifferences:
    """Repair the differences while learning is blocked; return them."""
    different = await _differences(connection)
    for (tenant, arm_id), history in sorted(different.histories.items(), key=_by_arm):
        await lock_histories(connection, tenant, [arm_id])
        await save_histories(connection, tenant, {arm_id: history})
    for (tenant, arm_id), change in sorted(different.sums.items(), key=_by_arm):
        await add_sums(connection, tenant, {arm_id: change})
    return different


def _by_arm(item: tuple[Arm, object]) -> Arm:
    return item[0]


# Learning locks a history, then writes an event, then the queue of the memory or an outcome, then a sum. The
# same order here prevents a deadlock.
_BLOCK_LEARNING = """
LOCK TABLE histories, feedback_events, memory_queue, outcomes, shadow_answers, evidence
IN SHARE ROW EXCLUSIVE MODE
"""

# Outcomes count if the arm itself answered, and so do answers in shadow; all in today's prices.
_SUMS_OF_OUTCOMES = """
SELECT a.tenant, a.arm_id, 0::numeric AS n, 0::numeric AS reward_sum, count(*) AS n_outcomes,
    sum(a.latency_s) AS latency_s_sum,
    coalesce(sum(todays_usd(a.arm_id, a.price_version, 1, a.cost_usd))
        FILTER (WHERE a.cost_source <> 'unknown'), 0) AS cost_usd_sum,
    count(*) FILTER (WHERE a.cost_source = 'unknown') AS n_unpriced,
    coalesce(sum(todays_usd_squares(a.arm_id, a.price_version, 1, a.cost_usd, a.cost_usd * a.cost_usd))
        FILTER (WHERE a.cost_source <> 'unknown'), 0) AS cost_usd_squares,
    sum(a.latency_s * a.latency_s) AS latency_s_squares
FROM (
    SELECT o.tenant, o.arm_id, o.price_version, o.latency_s,
        coalesce(o.call_cost_usd, o.cost_usd) AS cost_usd, o.cost_source
    FROM outcomes o
    JOIN decisions d ON d.decision_id = o.decision_id
    WHERE d.learn AND o.status = 'ok' AND o.kind <> 'cache' AND {of_outcomes}
    UNION ALL
    SELECT s.tenant, s.arm_id, s.price_version, s.latency_s, s.cost_usd, s.cost_source
    FROM shadow_answers s
    WHERE s.status = 'ok' AND {of_shadow_answers}
) a
GROUP BY a.tenant, a.arm_id
"""
_OUTCOME_SUMS = _SUMS_OF_OUTCOMES.format(of_outcomes="true", of_shadow_answers="true")
_OUTCOME_SUMS_OF = _SUMS_OF_OUTCOMES.format(
    of_outcomes="o.decision_id = ANY($1)", of_shadow_answers="s.decision_id = ANY($1)"
)
_EVIDENCE = "SELECT * FROM evidence"


async def _differences(connection: Connection) -> EvidenceDifferences:
    """Read in several statements; the transaction must see one moment, or lock the tables."""
    from_events = await _from_events(connection)
    outcomes = await connection.fetch(_OUTCOME_SUMS, timeout=REBUILD_TIMEOUT_S)
    _add(from_events.sums, {_arm_of(row): sums_of(row) for row in outcomes})
    for arm, sums in await retired_sums(connection, REBUILD_TIMEOUT_S):
        _add(from_events.sums, {arm: sums})
    rows = await connection.fetch(_EVIDENCE, timeout=REBUILD_TIMEOUT_S)
    stored = {_arm_of(row): sums_of(row) for row in rows}
    histories = await connection.fetch(_HISTORIES, timeout=REBUILD_TIMEOUT_S)
    return EvidenceDifferences(
        differences(stored, from_events.sums),
        _different_histories(histories, from_events.histories),
    )


async def outcome_sums_of(connection: Connection, decision_ids: Sequence[UUID]) -> dict[Arm, ArmSums]:
    """The sums that the outcomes of these decisions gave to each arm, in today's prices."""
    rows = await connection.fetch(_OUTCOME_SUMS_OF, decision_ids)
    return {_arm_of(row): sums_of(row) for row in rows}


async def refold_histories(connection: Connection, tenant: str) -> None:
    """Bring a tenant's histories to what its events give, in a transaction.

    Feedback on the tenant's arms waits meanwhile. An arm that is rated for the first time in this very moment
    follows by itself.
    """
    stored = await connection.fetch(_LOCK_HISTORIES, tenant, timeout=REBUILD_TIMEOUT_S)
    from_events = await _from_events(connection, tenant)
    known = {_arm_of(row) for row in stored}
    folded_anew = {arm: history for arm, history in from_events.histories.items() if arm in known}
    changed = _different_histories(stored, folded_anew)
    await save_histories(connection, tenant, {arm_id: history for (_, arm_id), history in changed.items()})


def _arm_of(row: Record) -> Arm:
    return row["tenant"], row["arm_id"]


# Every event with the standing feedback on its decision before it, in the order of the events.
_EVENTS = f"""
SELECT e.tenant, e.event_arm_id, e.event_reward, e.event_weight, e.signal, e.signal_arms, e.signal_weights,
    e.is_first, e.key_id, latest.arm_id, latest.reward, latest.weight, d.decided_at, d.dialect,
    {WEIGHED}
FROM (
    SELECT event_id, decision_id, tenant, arm_id AS event_arm_id, reward AS event_reward,
        weight AS event_weight, signal, key_id,
        max(event_id) FILTER (WHERE signal IS NULL) OVER earlier AS latest_event_id,
        coalesce(array_agg(arm_id) FILTER (WHERE signal IS NOT NULL) OVER earlier, '{{}}') AS signal_arms,
        coalesce(array_agg(weight) FILTER (WHERE signal IS NOT NULL) OVER earlier, '{{}}') AS signal_weights,
        count(reward) FILTER (WHERE signal IS NULL) OVER (PARTITION BY decision_id, arm_id ORDER BY event_id
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) = 0 AS is_first
    FROM feedback_events
    WHERE ($1::text IS NULL OR tenant = $1) AND reverted_by IS NULL
    WINDOW earlier AS (PARTITION BY decision_id ORDER BY event_id
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
) e
JOIN decisions d ON d.decision_id = e.decision_id AND d.learn
LEFT JOIN feedback_events latest ON latest.event_id = e.latest_event_id
ORDER BY e.event_id
"""  # noqa: S608  # joins constants


@dataclass(frozen=True, slots=True)
class _Recomputed:
    """Sums and histories from the events, by arm."""

    sums: dict[Arm, ArmSums]
    histories: dict[Arm, ArmHistory]


async def _from_events(connection: Connection, tenant: str | None = None) -> _Recomputed:
    """Sums and histories from the events of a tenant, or of all."""
    sums: dict[Arm, ArmSums] = {}
    histories: defaultdict[str, dict[str, ArmHistory]] = defaultdict(dict)
    async for row in connection.cursor(_EVENTS, tenant, prefetch=500, timeout=REBUILD_TIMEOUT_S):
        tenant, feedback = row["tenant"], _recorded_feedback(row)
        histories[tenant].update(folded(histories[tenant], feedback))
        changes = differences(standing_sums(feedback.before), standing_sums(feedback.after))
        _add(sums, {(tenant, arm_id): change for arm_id, change in changes.items()})
    by_arm = {
        (tenant, arm_id): history
        for tenant, of_tenant in histories.items()
        for arm_id, history in of_tenant.items()
    }
    return _Recomputed(sums, by_arm)


def _recorded_feedback(row: Record) -> RecordedFeedback:
    before, explained = standing_feedback_of(row), explanation_of(row)
    reward = reward_of(row["event_reward"], row["event_weight"])
    return RecordedFeedback(
        decided_at=row["decided_at"],
        n_rated=explained.get("n_rated"),
        candidates=explained["candidates"],
        before=before,
        after=before.after(Event(row["event_arm_id"], reward, row["signal"])),
        is_first=row["is_first"],
        rater=None if row["dialect"] == "import" else Rater(row["key_id"]),
    )


def _add(sums: dict[Arm, ArmSums], changes: Mapping[Arm, ArmSums]) -> None:
    for arm, change in changes.items():
        sums[arm] = sums.get(arm, ArmSums()) + change


_HISTORIES = "SELECT * FROM histories"
_LOCK_HISTORIES = """
SELECT * FROM histories WHERE tenant = $1 ORDER BY arm_id COLLATE "C" FOR NO KEY UPDATE
"""


def _different_histories(
    rows: Iterable[Record], from_events: Mapping[Arm, ArmHistory]
) -> dict[Arm, ArmHistory]:
    """The histories from the events that differ from rows of `histories`."""
    stored = {_arm_of(row): history_of(row) for row in rows}
    expected = {**dict.fromkeys(stored, ArmHistory()), **from_events}
    return {arm: history for arm, history in expected.items() if stored.get(arm, ArmHistory()) != history}


async def experiences(database: Database, encoder: str) -> AsyncIterator[Experience]:
    """Every rated decision of one vector space, as of one moment, in no order.

    Fetched in batches. Raises StoreUnavailable.
    """
    async with database.transaction(timeout_s=REBUILD_TIMEOUT_S) as connection:
        async for row in connection.cursor(ALL, encoder, prefetch=500, timeout=REBUILD_TIMEOUT_S):
            if (experience := experience_of(row)) is not None:
                yield experience


async def experiences_of(database: Database, encoder: str, tenant: str) -> AsyncIterator[Experience]:
    """A tenant's rated decisions of one vector space, as of one moment, oldest first.

    Fetched in batches. Raises StoreUnavailable.
    """
    async with database.as_tenant(tenant, timeout_s=REBUILD_TIMEOUT_S, readonly=True) as connection:
        async for row in connection.cursor(
            OF_TENANT, encoder, tenant, prefetch=500, timeout=REBUILD_TIMEOUT_S
        ):
            if (experience := experience_of(row)) is not None:
                yield experience


async def has_decisions(database: Database) -> bool:
    """Whether any decision is logged. Raises StoreUnavailable."""
    async with database.transaction() as connection:
        return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM decisions)"))


# An entry that learning queues meanwhile is as new or newer.
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

    Returns the queued ones. The others were never rated, or have no context in this vector space. Raises
    StoreUnavailable.
    """
    async with database.transaction(timeout_s=REBUILD_TIMEOUT_S) as connection:
        rows = await connection.fetch(_ENQUEUE, list(decision_ids), encoder, timeout=REBUILD_TIMEOUT_S)
    return {row["decision_id"] for row in rows}


# Those in the queue may be there or not. As in `StandingFeedback.remembered`, the arm is that of the score,
# or else the one that answered, if it has signals.
_COUNT_DUE = f"""
SELECT coalesce(sum(least(n, $2)), 0)::bigint
FROM (
    SELECT count(*) AS n
    FROM (
        SELECT d.tenant, CASE
            WHEN v.reward IS NOT NULL THEN v.arm_id
            WHEN coalesce(o.arm_id, d.arm_id) = ANY (v.signal_arms) THEN coalesce(o.arm_id, d.arm_id)
        END AS arm_id
        FROM decisions d {JOINS}
        WHERE d.decision_id IN (SELECT decision_id FROM feedback_events)
            AND d.encoder = $1 AND d.context IS NOT NULL AND d.learn
            AND NOT EXISTS (SELECT FROM memory_queue q WHERE q.decision_id = d.decision_id)
    ) remembered
    WHERE arm_id IS NOT NULL
    GROUP BY tenant, arm_id
) by_arm
"""  # noqa: S608  # joins constants


async def count_due(database: Database, encoder: str, points_per_arm: int) -> int:
    """How many points the memory has at least, if it lost none. Raises StoreUnavailable."""
    async with database.transaction(timeout_s=REBUILD_TIMEOUT_S) as connection:
        n_due: int = await connection.fetchval(_COUNT_DUE, encoder, points_per_arm, timeout=REBUILD_TIMEOUT_S)
    return n_due


# As many of each tenant and arm as the memory keeps. An entry that learning queues meanwhile is as new.
_ENQUEUE_NEWEST = """
INSERT INTO memory_queue (decision_id, tenant, event_id, queued_at)
SELECT n.decision_id, n.tenant, n.event_id, now()
FROM (
    SELECT d.decision_id, d.tenant, e.event_id,
        row_number() OVER (PARTITION BY d.tenant, e.arm_id ORDER BY d.decided_at DESC, d.decision_id) AS age
    FROM (
        SELECT DISTINCT ON (decision_id) decision_id, event_id, arm_id
        FROM feedback_events ORDER BY decision_id, event_id DESC
    ) e
    JOIN decisions d ON d.decision_id = e.decision_id
    WHERE d.encoder = $1 AND d.context IS NOT NULL AND d.learn
) n
WHERE n.age <= $2
ORDER BY n.decision_id
ON CONFLICT (decision_id) DO NOTHING
"""


async def enqueue_newest(database: Database, encoder: str, points_per_arm: int) -> int:
    """Queue the newest rated decisions of every tenant and arm for the memory; returns how many.

    Raises StoreUnavailable.
    """
    async with database.transaction(timeout_s=REBUILD_TIMEOUT_S) as connection:
        done = await connection.execute(_ENQUEUE_NEWEST, encoder, points_per_arm, timeout=REBUILD_TIMEOUT_S)
    return int(done.split()[-1])
