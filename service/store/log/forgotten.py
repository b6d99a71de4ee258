"""The decisions that must not come back: into the memory, or out of a spool."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from service.domain.decision import Decision
from service.domain.forgotten import Selection, Tombstones
from service.store.connection.pool import Database
from service.store.connection.values import storable


class PostgresForgottenDecisions:
    """A ForgottenDecisions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def tombstones(self, limit: int) -> Tombstones:
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_TOMBSTONES, limit)
        assert row is not None
        return Tombstones((row["n"], row["n_finished"], row["newest"]), row["decision_ids"])

    async def mark_removed(self, decision_ids: Sequence[UUID]) -> None:
        async with self._database.connection() as connection:
            await connection.execute(_REMOVED, decision_ids)

    async def prune(self) -> None:
        n = _PRUNED
        while n == _PRUNED:
            async with self._database.connection() as connection:
                n = await connection.fetchval(_PRUNE, _PRUNED)


# The second removal catches what a replica had read before the deletion and wrote after the first one.
_DUE = "n_removals = 0 OR n_removals = 1 AND forgotten_at < now() - interval '60 s'"
_TOMBSTONES = f"""
SELECT count(*) AS n, count(finished_at) AS n_finished, max(finished_at) AS newest,
    ARRAY(
        SELECT decision_id FROM forgotten_decisions WHERE n_removals < 2 AND ({_DUE})
        ORDER BY forgotten_at LIMIT $1
    ) AS decision_ids
FROM forgotten
"""  # noqa: S608  # joins constants
_REMOVED = f"""
UPDATE forgotten_decisions SET n_removals = n_removals + 1 WHERE decision_id = ANY($1) AND ({_DUE})
"""  # noqa: S608  # joins constants
# A spool or an exported log that is older than this may bring a deleted decision back.
_PRUNE = """
WITH pruned AS (
    DELETE FROM forgotten_decisions WHERE decision_id IN (
        SELECT decision_id FROM forgotten_decisions
        WHERE n_removals = 2 AND forgotten_at < now() - interval '90 days'
        ORDER BY forgotten_at LIMIT $1
        FOR UPDATE SKIP LOCKED
    )
    RETURNING decision_id
)
SELECT count(*) FROM pruned
"""
_PRUNED = 5_000  # in one statement


async def forgotten_among(
    database: Database, decisions: Sequence[Decision], decision_ids: Sequence[UUID]
) -> set[UUID]:
    """Those of the decisions that were forgotten before they reached PostgreSQL, and those of the ids.

    What is found is remembered, so that its outcome is recognised too. Raises StoreUnavailable.
    """
    async with database.connection() as connection:
        rows = await connection.fetch(_KNOWN, decision_ids)
        forgotten = {row["decision_id"] for row in rows}
        if decisions:
            since = min(decision.decided_at for decision in decisions)
            deletions = await connection.fetch(_SINCE, since)
            selected = [
                decision.decision_id
                for decision in decisions
                if any(
                    decision.decided_at < row["decided_before"]
                    and _selection(decision, row["selector"]).digest(row["forgotten_id"]) == row["digest"]
                    for row in deletions
                )
            ]
            if selected:
                await connection.execute(_BURY, selected)
            forgotten |= set(selected)
    return forgotten


def _selection(decision: Decision, selector: str) -> Selection:
    """What a deletion must have named to mean this decision."""
    query, at = decision.query, decision.decided_at
    if selector == "request":
        return Selection(at, query.tenant, request_id=storable(query.request_id))
    if selector == "session":
        return Selection(at, query.tenant, session_id=storable(query.options.session_id) or "")
    return Selection(at, query.tenant if selector == "tenant" else None)


_KNOWN = "SELECT decision_id FROM forgotten_decisions WHERE decision_id = ANY($1)"
_SINCE = "SELECT forgotten_id, selector, digest, decided_before FROM forgotten WHERE decided_before > $1"
_BURY = """
INSERT INTO forgotten_decisions (decision_id, forgotten_at)
SELECT unnest($1::uuid[]), now()
ON CONFLICT DO NOTHING
"""
