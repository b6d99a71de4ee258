"""The rows that name a decision, by table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from service.domain.forgotten import Selection, Selector
from service.store.connection.pool import Connection

# By table, the rows `k` that belong to a decision `d`; in the order in which they can be deleted.
KIN: Mapping[str, str] = {
    "memory_queue": "k.decision_id = d.decision_id",
    "feedback_events": "k.decision_id = d.decision_id",
    "attempts": "k.decision_id = d.decision_id",
    "outcomes": "k.decision_id = d.decision_id",
    "shadow_answers": "k.decision_id = d.decision_id",
    "request_bodies": "k.decision_id = d.decision_id",
    "cached_answers": "k.tenant = d.tenant AND k.request_id = d.request_id",
    "responses": "k.tenant = d.tenant AND k.response_id = 'resp_' || replace(d.decision_id::text, '-', '')",
    # The names of answers belong to no column of the decision: _ORPHANS deletes them.
    "sessions": "k.tenant = d.tenant AND k.key = d.session_key AND k.decision_id = d.decision_id",
    # A calibration that is not done has the texts of its prompts, which it may have from the log.
    "calibrations": "k.tenant = d.tenant AND k.updated_at < now() - interval '60 s' AND d.query_text <> ''"
    " AND d.query_text IN (SELECT prompt ->> 'text' FROM json_array_elements(k.prompts) AS prompt)",
    "decisions": "k.decision_id = d.decision_id",
}

_NAMED: Mapping[Selector, str] = {
    "request": "d.tenant = $1::text AND d.request_id = $2::text",
    "session": "d.tenant = $1::text AND d.session_id = $2::text",
    "tenant": "d.tenant = $1::text AND $2::text IS NULL",
    "all": "$1::text IS NULL AND $2::text IS NULL",
}
# The outcome of a request that is still being answered must find its decision. A request without an outcome
# after this time was only routed, or its process died.
ANSWERED = """
d.decided_at < $3::timestamptz
    AND (d.decided_at < now() - interval '15 min'
        OR EXISTS (SELECT FROM outcomes o WHERE o.decision_id = d.decision_id))
"""
_UNANSWERED = """
SELECT count(*) FROM decisions d
WHERE {named} AND d.decided_at < $3::timestamptz AND d.decided_at >= now() - interval '15 min'
    AND NOT EXISTS (SELECT FROM outcomes o WHERE o.decision_id = d.decision_id)
"""
_BATCH = """
SELECT d.decision_id FROM decisions d
WHERE d.decision_id > $4 AND {named} AND {answered}
ORDER BY d.decision_id
LIMIT $5
FOR UPDATE OF d
"""


# The tables in the order in which `router rebuild` locks them: rows are deleted in another one.
BEGIN_DELETING = """
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '30s';
LOCK TABLE histories, feedback_events, memory_queue, outcomes, shadow_answers, evidence IN ROW EXCLUSIVE MODE
"""


def named_values(selection: Selection) -> tuple[object, ...]:
    """The parameters of the statements below, before their own."""
    return selection.tenant, selection.name, selection.decided_before


async def lock_next(connection: Connection, selection: Selection, after: UUID, limit: int) -> Sequence[UUID]:
    """Lock the next decisions of a selection for a transaction, in order of their ids."""
    statement = _BATCH.format(named=_NAMED[selection.selector], answered=ANSWERED)
    rows = await connection.fetch(statement, *named_values(selection), after, limit)
    return [row["decision_id"] for row in rows]


async def count_kin(connection: Connection, selection: Selection) -> dict[str, int]:
    """How many rows a selection has in each table, without those that have none."""
    counts = {}
    for table, belongs in KIN.items():
        statement = (
            f"SELECT count(DISTINCT k.ctid) FROM {table} k JOIN decisions d ON {belongs} "  # noqa: S608  # constants
            f"WHERE {_NAMED[selection.selector]} AND {ANSWERED}"
        )
        counts[table] = await connection.fetchval(statement, *named_values(selection))
    return {table: n for table, n in counts.items() if n}


async def count_unanswered(connection: Connection, selection: Selection) -> int:
    """How many requests of a selection are still being answered."""
    statement = _UNANSWERED.format(named=_NAMED[selection.selector])
    return int(await connection.fetchval(statement, *named_values(selection)))


async def delete_kin(connection: Connection, decision_ids: Sequence[UUID]) -> dict[str, int]:
    """Delete decisions, which are locked, with all their rows; returns how many in each table."""
    return {
        table: _n_deleted(
            await connection.execute(
                f"DELETE FROM {table} k USING decisions d WHERE d.decision_id = ANY($1) AND {belongs}",  # noqa: S608
                decision_ids,
            )
        )
        for table, belongs in KIN.items()
    }


# Conversations whose newest decision is gone, under the names that answers gave them.
_ORPHANS = """
WITH gone AS (
    SELECT s.tenant, s.key FROM sessions s
    LEFT JOIN decisions d ON d.decision_id = s.decision_id
    WHERE d.decision_id IS NULL AND ($1::text IS NULL OR s.tenant = $1)
    LIMIT $2
)
DELETE FROM sessions s USING gone WHERE s.tenant = gone.tenant AND s.key = gone.key
"""
# The report of a calibration that is done shows texts of a tenant, too.
_CALIBRATIONS = """
DELETE FROM calibrations
WHERE tenant = $1 AND started_at < $2 AND updated_at < now() - interval '60 s'
"""


async def delete_orphans(connection: Connection, tenant: str | None, limit: int) -> int:
    """Delete some conversations whose newest decision is gone; returns how many."""
    return _n_deleted(await connection.execute(_ORPHANS, tenant, limit))


async def delete_calibrations(connection: Connection, selection: Selection) -> int:
    """Delete the calibrations of a whole tenant that do not run; returns how many."""
    return _n_deleted(await connection.execute(_CALIBRATIONS, selection.tenant, selection.decided_before))


def _n_deleted(status: str) -> int:
    return int(status.removeprefix("DELETE "))
