"""Whether everything that was acknowledged is in PostgreSQL."""

from __future__ import annotations

import asyncpg

from benchmarks.soak.load import Acknowledged

_ANSWERS = """
SELECT d.request_id FROM decisions d JOIN outcomes o USING (decision_id)
WHERE d.request_id = ANY ($1) AND o.status = 'ok'
"""
_SCORES = """
SELECT DISTINCT ON (d.request_id) d.request_id, e.score
FROM decisions d JOIN feedback_events e USING (decision_id)
WHERE d.request_id = ANY ($1) AND e.score IS NOT NULL
ORDER BY d.request_id, e.event_id DESC
"""


async def lost(dsn: str, acknowledged: Acknowledged) -> list[str]:
    """What was acknowledged and is not stored, a line each."""
    connection = await asyncpg.connect(dsn)
    try:
        answers = {row["request_id"] for row in await connection.fetch(_ANSWERS, list(acknowledged.answers))}
        scores = {
            row["request_id"]: row["score"]
            for row in await connection.fetch(_SCORES, list(acknowledged.scores))
        }
    finally:
        await connection.close()
    return [
        *(f"{request_id}: no answer" for request_id in sorted(acknowledged.answers - answers)),
        *(
            f"{request_id}: score {scores.get(request_id)} instead of {score}"
            for request_id, score in sorted(acknowledged.scores.items())
            if scores.get(request_id) != score
        ),
    ]
