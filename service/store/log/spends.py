"""The newest decisions that the budget paid for."""

from __future__ import annotations

from asyncpg import Record

from service.domain.basics import Json
from service.domain.decision import PacedArm, Spend
from service.store.connection.pool import Database
from service.store.explanations import HAS_CANDIDATES, WEIGHED, explanation_of

# The budget is one for all tenants: the newest decisions of each are read from the index, then sorted.
# Candidates are large, so they are fetched for the newest decisions only. The statement excludes models that
# clients chose, answers from the cache, which cost nothing, and decisions without candidates (all arms were
# cooling down).
_SPENDS = f"""
WITH RECURSIVE tenants AS (
    (SELECT tenant FROM decisions WHERE dialect <> 'import' ORDER BY tenant LIMIT 1)
    UNION ALL
    SELECT (SELECT tenant FROM decisions
        WHERE dialect <> 'import' AND tenant > t.tenant ORDER BY tenant LIMIT 1)
    FROM tenants t
    WHERE t.tenant IS NOT NULL
)
SELECT d.decided_at, d.arm_id, d.age <= $2 AS is_weighed, {WEIGHED},
    (SELECT CASE WHEN NOT bool_or(cost_source = 'unknown') THEN sum(cost_usd) END
        FROM attempts a WHERE a.decision_id = d.decision_id)::float8 AS cost_usd
FROM (
    SELECT decision_id, decided_at, arm_id, age,
        CASE WHEN age <= $2 THEN explanation ELSE '{{}}' END AS explanation,
        CASE WHEN age <= $2 THEN weighed END AS weighed
    FROM (
        SELECT own.*, row_number() OVER (ORDER BY own.decided_at DESC) AS age
        FROM tenants t
        CROSS JOIN LATERAL (
            SELECT decision_id, decided_at, arm_id, explanation, weighed
            FROM decisions
            WHERE tenant = t.tenant AND dialect <> 'import' AND kind NOT IN ('pinned', 'cache')
            ORDER BY decided_at DESC
            LIMIT $1
        ) own
        ORDER BY own.decided_at DESC
        LIMIT $1
    ) newest
) d
WHERE d.age > $2 OR {HAS_CANDIDATES}
ORDER BY d.decided_at
"""  # noqa: S608  # joins constants


async def newest_spends(database: Database, limit: int, n_weighed: int) -> list[Spend]:
    """The newest spends of all tenants, oldest first; the last `n_weighed` with their candidates.

    Raises StoreUnavailable.
    """
    async with database.connection() as connection:
        return [_spend(row) for row in await connection.fetch(_SPENDS, limit, n_weighed)]


def _spend(row: Record) -> Spend:
    explained = explanation_of(row) if row["is_weighed"] else {}
    candidates, step = explained.get("candidates", ()), explained.get("conversation") or {}
    # No budget price could have changed the arm.
    if step.get("is_drawn") is False or explained.get("housekeeping"):
        candidates = [c for c in candidates if c["arm_id"] == row["arm_id"]]
    return Spend(
        decided_at=row["decided_at"],
        arm_id=row["arm_id"],
        cost_usd=row["cost_usd"],
        arms=tuple(_paced_arm(candidate) for candidate in candidates),
        feedback_weight=explained.get("own_weights", {}).get("feedback_weight"),
    )


def _paced_arm(candidate: Json) -> PacedArm:
    posterior, utility = candidate["posterior"], candidate["utility"]
    return PacedArm(
        arm_id=candidate["arm_id"],
        alpha=posterior["alpha"],
        beta=posterior["beta"],
        offset=utility["bonus"] + utility["speed"] + utility["cost"],
        expected_cost_usd=candidate["expected_cost_usd"],
    )
