"""The newest decisions that the budget paid for."""

from __future__ import annotations

from asyncpg import Record

from service.domain.basics import Json
from service.domain.decision import PacedArm, Spend
from service.store.connection.pool import Database

# Candidates are large, so they are fetched for the newest decisions only. The statement excludes models that
# clients chose, answers from the cache, which cost nothing, and decisions without candidates (all arms were
# cooling down).
_SPENDS = """
SELECT d.decided_at, d.arm_id,
    CASE WHEN d.age <= $3 THEN d.explanation -> 'candidates' END AS candidates,
    CASE WHEN d.age <= $3 THEN
        (coalesce(d.explanation -> 'conversation', d.explanation -> 'session') ->> 'is_drawn')::boolean
        END AS is_drawn,
    CASE WHEN d.age <= $3 THEN (d.explanation ->> 'housekeeping')::boolean END AS is_housekeeping,
    CASE WHEN d.age <= $3 THEN (d.explanation -> 'own_weights' ->> 'feedback_weight')::float8 END
        AS feedback_weight,
    (SELECT CASE WHEN NOT bool_or(cost_source = 'unknown') THEN sum(cost_usd) END
        FROM attempts a WHERE a.decision_id = d.decision_id)::float8 AS cost_usd
FROM (
    SELECT decision_id, decided_at, arm_id, explanation, row_number() OVER (ORDER BY decided_at DESC) AS age
    FROM decisions
    WHERE tenant = $1 AND dialect <> 'import' AND kind NOT IN ('pinned', 'cache')
    ORDER BY decided_at DESC
    LIMIT $2
) d
WHERE d.age > $3 OR d.explanation -> 'candidates' <> '[]'
ORDER BY d.decided_at
"""


async def newest_spends(database: Database, tenant: str, limit: int, n_weighed: int) -> list[Spend]:
    """The newest spends of the budget, oldest first; the last `n_weighed` with their candidates.

    Raises StoreUnavailable.
    """
    async with database.connection() as connection:
        return [_spend(row) for row in await connection.fetch(_SPENDS, tenant, limit, n_weighed)]


def _spend(row: Record) -> Spend:
    candidates = row["candidates"] or ()
    if row["is_drawn"] is False or row["is_housekeeping"]:  # no budget price could have changed the arm
        candidates = [c for c in candidates if c["arm_id"] == row["arm_id"]]
    return Spend(
        decided_at=row["decided_at"],
        arm_id=row["arm_id"],
        cost_usd=row["cost_usd"],
        arms=tuple(_paced_arm(candidate) for candidate in candidates),
        feedback_weight=row["feedback_weight"],
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
