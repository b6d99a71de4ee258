"""Rated decisions as the memory stores them."""

from __future__ import annotations

from asyncpg import Record

from service.domain.feedback import Experience, Pending
from service.store.connection.values import from_bytes
from service.store.evidence.standing_feedback import StandingFeedback, standing_feedback_of

# The columns that `experience_of` reads, and the tables joined to a decision `d` for them.
# A decision without an outcome counts as free and instant until its outcome queues it again.
_SELECT = """
SELECT d.decision_id, d.tenant, d.request_id, d.encoder, d.context, d.decided_at, d.task,
    v.arm_id, v.reward, v.weight, v.signal_arms, v.signal_weights,
    coalesce(o.arm_id, d.arm_id) AS answered_by, coalesce(o.latency_s, 0) AS latency_s,
    CASE WHEN o.cost_source = 'unknown' THEN NULL ELSE coalesce(o.call_cost_usd, o.cost_usd, 0) END
        AS cost_usd"""
JOINS = """
JOIN verdicts v ON v.decision_id = d.decision_id
LEFT JOIN outcomes o ON o.decision_id = d.decision_id
"""

_QUEUED = f"""{_SELECT}, q.event_id, o.completed_at
FROM memory_queue q
JOIN decisions d ON d.decision_id = q.decision_id {JOINS}
"""
PENDING = _QUEUED + "ORDER BY q.queued_at, q.decision_id LIMIT $1"
PENDING_FOR = _QUEUED + "WHERE q.decision_id = ANY ($1)"
# The decisions with the newest events; at most as many as the events that $3 limits.
RATED = f"""
WITH newest AS (
    SELECT DISTINCT decision_id
    FROM (SELECT decision_id FROM feedback_events WHERE tenant = $1 ORDER BY event_id DESC LIMIT $3) e
)
{_SELECT}
FROM newest
JOIN decisions d ON d.decision_id = newest.decision_id {JOINS}
WHERE d.encoder = $2 AND d.context IS NOT NULL AND d.learn
"""  # noqa: S608  # joins constants
ALL = f"""{_SELECT}
FROM decisions d {JOINS}
WHERE d.encoder = $1 AND d.context IS NOT NULL AND d.learn
    AND (v.reward IS NOT NULL OR v.signals <> '{{}}')
"""
OF_TENANT = f"{ALL} AND d.tenant = $2 ORDER BY d.decided_at, d.decision_id"


def pending_of(row: Record) -> Pending:
    """A row of PENDING or PENDING_FOR."""
    return Pending(
        decision_id=row["decision_id"],
        tenant=row["tenant"],
        event_id=row["event_id"],
        experience=experience_of(row),
        completed_at=row["completed_at"],
    )


def experience_of(row: Record) -> Experience | None:
    """A row of any statement above; None: the memory must not have the decision."""
    return experience_with(row, standing_feedback_of(row))


def experience_with(row: Record, standing: StandingFeedback) -> Experience | None:
    """The same of a row without its feedback, and of the feedback that counts now."""
    remembered = standing.remembered(row["answered_by"])
    if remembered is None:
        return None
    arm_id, reward = remembered
    return Experience(
        decision_id=row["decision_id"],
        tenant=row["tenant"],
        request_id=row["request_id"],
        arm_id=arm_id,
        encoder=row["encoder"],
        context=from_bytes(row["context"]),
        reward=float(reward.value),
        weight=float(reward.weight),
        latency_s=float(row["latency_s"]),
        cost_usd=None if row["cost_usd"] is None else float(row["cost_usd"]),
        decided_at=row["decided_at"],
        task=row["task"],
    )
