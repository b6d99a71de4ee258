"""What outcomes gave to the sums, of requests that were deleted because of their age."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from service.domain.arm import ArmSums
from service.store.connection.pool import Connection
from service.store.evidence.sums import sums_of

Arm = tuple[str, str]  # tenant, arm id

# Rows in one order for every transaction. Answers in shadow count as well, as in `evidence`.
_RETIRE = """
INSERT INTO retired_outcomes AS r
SELECT a.tenant, a.arm_id, a.price_version, count(*), count(*) FILTER (WHERE a.usd IS NULL),
    sum(a.latency_s), sum(a.latency_s * a.latency_s), coalesce(sum(a.usd), 0),
    coalesce(sum(a.usd * a.usd), 0), max(a.decided_at)
FROM (
    SELECT o.tenant, o.arm_id, o.price_version, o.latency_s, d.decided_at,
        CASE WHEN o.cost_source <> 'unknown' THEN coalesce(o.call_cost_usd, o.cost_usd) END AS usd
    FROM outcomes o
    JOIN decisions d ON d.decision_id = o.decision_id
    WHERE o.decision_id = ANY($1) AND d.learn AND o.status = 'ok' AND o.kind <> 'cache'
    UNION ALL
    SELECT s.tenant, s.arm_id, s.price_version, s.latency_s, d.decided_at,
        CASE WHEN s.cost_source <> 'unknown' THEN s.cost_usd END
    FROM shadow_answers s
    JOIN decisions d ON d.decision_id = s.decision_id
    WHERE s.decision_id = ANY($1) AND s.status = 'ok'
) a
GROUP BY a.tenant, a.arm_id, a.price_version
ORDER BY a.tenant COLLATE "C", a.arm_id COLLATE "C", a.price_version
ON CONFLICT (tenant, arm_id, price_version) DO UPDATE SET
    n_outcomes = r.n_outcomes + excluded.n_outcomes, n_unpriced = r.n_unpriced + excluded.n_unpriced,
    latency_s_sum = r.latency_s_sum + excluded.latency_s_sum,
    latency_s_squares = r.latency_s_squares + excluded.latency_s_squares,
    cost_usd_sum = r.cost_usd_sum + excluded.cost_usd_sum,
    cost_usd_squares = r.cost_usd_squares + excluded.cost_usd_squares,
    newest_at = greatest(r.newest_at, excluded.newest_at)
"""
_IN_TODAYS_PRICES = """
tenant, arm_id, 0::numeric AS n, 0::numeric AS reward_sum, n_outcomes, latency_s_sum, n_unpriced,
    latency_s_squares,
    todays_usd(arm_id, price_version, n_outcomes - n_unpriced, cost_usd_sum) AS cost_usd_sum,
    todays_usd_squares(arm_id, price_version, n_outcomes - n_unpriced, cost_usd_sum, cost_usd_squares)
        AS cost_usd_squares
"""
_SUMS = f"SELECT {_IN_TODAYS_PRICES} FROM retired_outcomes"  # noqa: S608  # joins constants
_FORGET = f"""
DELETE FROM retired_outcomes WHERE tenant = $1 AND newest_at < $2 RETURNING {_IN_TODAYS_PRICES}
"""  # noqa: S608  # joins constants


async def retire_outcomes(connection: Connection, decision_ids: Sequence[UUID]) -> None:
    """Keep what the outcomes of these decisions gave to the sums, in the transaction that deletes them."""
    await connection.execute(_RETIRE, decision_ids)


async def retired_sums(connection: Connection, timeout_s: float) -> list[tuple[Arm, ArmSums]]:
    """The sums of deleted outcomes, in today's prices; an arm may come several times."""
    rows = await connection.fetch(_SUMS, timeout=timeout_s)
    return [((row["tenant"], row["arm_id"]), sums_of(row)) for row in rows]


async def forget_retired(
    connection: Connection, tenant: str, decided_before: datetime
) -> list[tuple[Arm, ArmSums]]:
    """Delete a tenant's sums of deleted outcomes, if all of them are older; returns them as above."""
    rows = await connection.fetch(_FORGET, tenant, decided_before)
    return [((row["tenant"], row["arm_id"]), sums_of(row)) for row in rows]
