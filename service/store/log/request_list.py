"""The newest requests of a tenant, filtered, one page at a time."""

from __future__ import annotations

from asyncpg import Record

from service.domain.logged_requests import Place, RequestFilter, RequestSummary
from service.store.connection.pool import Connection
from service.store.connection.values import storable

# The filters come before the columns that only the listed rows need. Imported requests are excluded; the
# condition on the dialect is written as in decisions_tenant_decided_at_idx, which is read from its end.
_MATCHES = """
SELECT d.decision_id, d.request_id, d.decided_at, d.dialect, d.stream, d.requested_model, d.task,
    d.session_id, d.rule, d.tags,
    coalesce(o.arm_id, d.arm_id) AS arm_id,
    coalesce(o.kind, d.kind) AS kind,
    coalesce(o.status, 'pending') AS status,
    o.latency_s, o.ttft_s, o.prompt_tokens, o.completion_tokens,
    f.reward
FROM decisions d
LEFT JOIN outcomes o ON o.decision_id = d.decision_id
LEFT JOIN LATERAL (
    SELECT reward
    FROM feedback_events
    WHERE decision_id = d.decision_id AND signal IS NULL AND reverted_by IS NULL
    ORDER BY event_id DESC
    LIMIT 1
) f ON true
WHERE d.tenant = $1 AND d.dialect <> 'import'
    AND ($2::timestamptz IS NULL OR d.decided_at >= $2)
    AND ($3::timestamptz IS NULL OR d.decided_at < $3)
    AND ($4::timestamptz IS NULL OR d.decided_at <= $4 AND (d.decided_at, d.decision_id) < ($4, $5::uuid))
    AND ($6::text IS NULL OR coalesce(o.arm_id, d.arm_id) = $6)
    AND ($7::text IS NULL OR coalesce(o.kind, d.kind) = $7)
    AND ($8::text IS NULL OR d.task = $8)
    AND ($9::text IS NULL OR coalesce(o.status, 'pending') = $9)
    AND ($10::boolean IS NULL OR (f.reward IS NOT NULL) = $10)
    AND ($12::text IS NULL OR d.rule = $12)
    AND ($13::jsonb IS NULL OR d.tags @> $13)
"""
_NEWEST = "ORDER BY d.decided_at DESC, d.decision_id DESC LIMIT $11"
_SUMMARIES = """
SELECT found.*, a.cost_usd, coalesce(a.n_unpriced, 0) AS n_unpriced, noticed.signals
FROM found
CROSS JOIN LATERAL (
    SELECT sum(cost_usd) AS cost_usd, count(*) FILTER (WHERE cost_source = 'unknown') AS n_unpriced
    FROM attempts
    WHERE decision_id = found.decision_id
) a
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(signal ORDER BY event_id), '{}') AS signals
    FROM feedback_events
    WHERE decision_id = found.decision_id AND signal IS NOT NULL
) noticed
ORDER BY found.decided_at DESC, found.decision_id DESC
"""
_OF_ALL = f"WITH found AS MATERIALIZED ({_MATCHES} {_NEWEST}) {_SUMMARIES}"
# A condition of its own: decisions_tenant_session_id_idx serves it, also when the plan knows no parameters.
_OF_A_SESSION = f"WITH found AS MATERIALIZED ({_MATCHES} AND d.session_id = $14 {_NEWEST}) {_SUMMARIES}"


async def request_summaries(
    connection: Connection,
    tenant: str,
    wanted: RequestFilter,
    limit: int,
    after: Place | None,
    *,
    timeout_s: float,
) -> list[RequestSummary]:
    """The newest matching requests, at most `limit`, of those that come after a place in the list."""
    parameters = [
        tenant,
        wanted.since,
        wanted.until,
        None if after is None else after.decided_at,
        None if after is None else after.decision_id,
        storable(wanted.arm_id),
        wanted.kind,
        storable(wanted.task),
        wanted.status,
        wanted.rated,
        limit,
        storable(wanted.rule),
        None if wanted.tag is None else [{"name": wanted.tag[0], "value": wanted.tag[1]}],
    ]
    if wanted.session_id is None:
        rows = await connection.fetch(_OF_ALL, *parameters, timeout=timeout_s)
    else:
        rows = await connection.fetch(
            _OF_A_SESSION, *parameters, storable(wanted.session_id), timeout=timeout_s
        )
    return [_summary(row) for row in rows]


def _summary(row: Record) -> RequestSummary:
    is_known = row["status"] != "pending" and row["n_unpriced"] == 0
    return RequestSummary(
        place=Place(row["decided_at"], row["decision_id"]),
        request_id=row["request_id"],
        dialect=row["dialect"],
        stream=row["stream"],
        requested_model=row["requested_model"],
        arm_id=row["arm_id"],
        kind=row["kind"],
        status=row["status"],
        task=row["task"],
        session_id=row["session_id"],
        latency_s=_number(row["latency_s"]),
        ttft_s=_number(row["ttft_s"]),
        prompt_tokens=row["prompt_tokens"],
        completion_tokens=row["completion_tokens"],
        cost_usd=float(row["cost_usd"] or 0) if is_known else None,
        reward=_number(row["reward"]),
        signals=tuple(row["signals"]),
        rule=row["rule"],
        tags={tag["name"]: tag["value"] for tag in row["tags"] or ()},
    )


def _number(value: object) -> float | None:
    return None if value is None else float(value)  # type: ignore[arg-type]  # NUMERIC is a Decimal
