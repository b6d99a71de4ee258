"""The ids of logged neighbours, of which a decision's row has only the beginnings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from asyncpg import Record

from service.domain.basics import Json
from service.domain.decision import Neighbour
from service.domain.neighbours import Point
from service.domain.packed_explanation import RecalledNeighbours, range_of
from service.store.connection.pool import Connection

_BEGINNING_SO = """
SELECT r.first, d.decision_id, d.request_id, d.decided_at
FROM unnest($2::uuid[], $3::uuid[]) AS r (first, last)
JOIN decisions d ON d.decision_id BETWEEN r.first AND r.last AND d.tenant = $1
"""


async def with_ids(connection: Connection, decision: Record, explained: Json) -> Json:
    """The explanation of a decision with the ids of its neighbours, as far as their decisions are logged."""
    recalled = explained.get("recalled")
    if not isinstance(recalled, RecalledNeighbours) or not recalled.columns.points:
        return explained
    ranges = [range_of(point.decision_id) for point in recalled.columns.points]
    firsts, lasts = zip(*ranges, strict=True)
    rows = await connection.fetch(_BEGINNING_SO, decision["tenant"], firsts, lasts)
    found: defaultdict[UUID, list[Record]] = defaultdict(list)
    for row in rows:
        found[row["first"]].append(row)
    points = tuple(_point(neighbour, found, decision["decided_at"]) for neighbour in recalled.columns)
    return {**explained, "recalled": replace(recalled, columns=replace(recalled.columns, points=points))}


def _point(neighbour: Neighbour, found: Mapping[UUID, list[Record]], now: datetime) -> Point:
    """The point of a neighbour; of several decisions whose ids begin so, that of its time."""
    rows = found.get(neighbour.decision_id, ())
    decided_at = now - timedelta(seconds=neighbour.age_s)
    row = min(rows, key=lambda row: abs(row["decided_at"] - decided_at), default=None)
    if row is None:
        return Point(neighbour.decision_id, neighbour.request_id, neighbour.task)
    return Point(row["decision_id"], row["request_id"], neighbour.task)
