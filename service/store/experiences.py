"""Rated decisions as the memory keeps them."""

from __future__ import annotations

from asyncpg import Record

from service.store.values import from_bytes
from service.types import Experience, Pending

# What was rated before its outcome was known counts as free and instant until the outcome queues it again.
PENDING = """
SELECT q.event_id, d.decision_id, d.tenant, d.request_id, d.encoder, d.context, d.decided_at, d.task,
    e.arm_id, e.reward, e.weight, coalesce(o.latency_s, 0) AS latency_s, coalesce(o.cost_usd, 0) AS cost_usd
FROM memory_queue q
JOIN decisions d ON d.decision_id = q.decision_id
JOIN feedback_events e ON e.event_id = q.event_id
LEFT JOIN outcomes o ON o.decision_id = q.decision_id
ORDER BY q.queued_at, q.decision_id
LIMIT $1
"""
PENDING_FOR = """
SELECT q.event_id, d.decision_id, d.tenant, d.request_id, d.encoder, d.context, d.decided_at, d.task,
    e.arm_id, e.reward, e.weight, coalesce(o.latency_s, 0) AS latency_s, coalesce(o.cost_usd, 0) AS cost_usd
FROM memory_queue q
JOIN decisions d ON d.decision_id = q.decision_id
JOIN feedback_events e ON e.event_id = q.event_id
LEFT JOIN outcomes o ON o.decision_id = q.decision_id
WHERE q.decision_id = $1
"""


def pending_of(row: Record) -> Pending:
    """A row of PENDING or PENDING_FOR."""
    return Pending(
        decision_id=row["decision_id"],
        tenant=row["tenant"],
        event_id=row["event_id"],
        experience=None if row["reward"] is None else experience_of(row),
    )


def experience_of(row: Record) -> Experience:
    """A row of PENDING or PENDING_FOR, or one like it."""
    return Experience(
        decision_id=row["decision_id"],
        tenant=row["tenant"],
        request_id=row["request_id"],
        arm_id=row["arm_id"],
        encoder=row["encoder"],
        context=from_bytes(row["context"]),
        reward=float(row["reward"]),
        weight=float(row["weight"]),
        latency_s=float(row["latency_s"]),
        cost_usd=float(row["cost_usd"]),
        decided_at=row["decided_at"],
        task=row["task"],
    )
