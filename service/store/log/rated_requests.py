"""Reads the requests of one task with their stored bodies, answers and ratings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import orjson

from service.domain.logged_request import RatedRequest
from service.store.connection.pool import Database

# Left out are requests that the answer cache answered: their answers are those of earlier requests.
_NEWEST = """
SELECT d.decision_id, d.decided_at, b.body, o.answer_text, e.reward
FROM decisions d
JOIN request_bodies b ON b.decision_id = d.decision_id
JOIN outcomes o ON o.decision_id = d.decision_id
LEFT JOIN LATERAL (
    SELECT reward
    FROM feedback_events f
    WHERE f.decision_id = d.decision_id AND f.signal IS NULL AND f.reverted_by IS NULL
    ORDER BY event_id DESC
    LIMIT 1
) e ON true
WHERE d.tenant = $1 AND d.task = $2 AND d.decided_at >= $3 AND d.decided_at < $4
    AND d.dialect <> 'import' AND o.kind <> 'cache' AND o.status = 'ok' AND o.answer_text IS NOT NULL
ORDER BY d.decided_at DESC, d.decision_id
LIMIT $5
"""


async def rated_requests(
    database: Database, tenant: str, task: str, since: datetime, until: datetime, limit: int
) -> Sequence[RatedRequest]:
    """The tenant's newest requests of the task whose texts are stored, the newest first.

    Raises StoreUnavailable.
    """
    async with database.as_tenant(tenant, readonly=True) as connection:
        rows = await connection.fetch(_NEWEST, tenant, task, since, until, limit)
    return [
        RatedRequest(
            decision_id=row["decision_id"],
            decided_at=row["decided_at"],
            body=orjson.loads(row["body"]),
            answer=row["answer_text"],
            reward=None if row["reward"] is None else float(row["reward"]),
        )
        for row in rows
    ]
