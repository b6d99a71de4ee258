"""The log of decisions, attempts and outcomes in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from asyncpg import Record

from service.domain.answer import Attempt, Outcome
from service.domain.answer_ids import decision_named_by
from service.domain.basics import Json
from service.domain.conversation import ConversationStep
from service.domain.decision import Decision, LoggedDecision
from service.errors import StoreUnavailable
from service.store.connection.pool import Database
from service.store.connection.values import storable
from service.store.evidence.snapshot import Snapshot
from service.store.evidence.sums import sums_of
from service.store.explanations import WEIGHED, explanation_of
from service.store.log.forgotten import forgotten_among
from service.store.log.group import Group, LogEntry, in_groups, problems_of
from service.store.log.record import request_record


class PostgresJournal:
    """A Journal.

    Args:
        store_texts: whether the texts of queries and answers are written.
        snapshot: of the evidence; it shows logged outcomes at once, before its next poll.
    """

    is_degraded = False

    def __init__(
        self, database: Database, *, store_texts: bool = False, snapshot: Snapshot | None = None
    ) -> None:
        self._database = database
        self._store_texts = store_texts
        self._snapshot = Snapshot() if snapshot is None else snapshot

    async def find(self, tenant: str, request_id: str) -> LoggedDecision | None:
        (found,) = await self.find_group([(tenant, request_id)])
        return found

    async def find_group(self, keys: Sequence[tuple[str, str]]) -> list[LoggedDecision | None]:
        """The decision of each tenant and request id; None: there is none."""
        async with self._database.connection(waits_in_turn=True) as connection:
            rows = await connection.fetch(_FIND, *map(list, zip(*keys, strict=True)))
        found = {(row["tenant"], row["request_id"]): _logged(row) for row in rows}
        return [found.get(key) for key in keys]

    async def log_decision(self, decision: Decision) -> None:
        await self._log(LogEntry(decision))

    async def log_outcome(self, outcome: Outcome, attempts: Sequence[Attempt]) -> None:
        await self._log(LogEntry(None, outcome, attempts))

    async def log_answer(self, decision: Decision, outcome: Outcome, attempts: Sequence[Attempt]) -> None:
        await self._log(LogEntry(decision, outcome, attempts))

    async def log_group(self, entries: Sequence[LogEntry]) -> list[Exception | None]:
        errors: list[Exception | None] = []
        for group in in_groups(entries):
            errors += await self._written(group)
        return errors

    async def forgotten_among(self, decisions: Sequence[Decision], decision_ids: Sequence[UUID]) -> set[UUID]:
        return await forgotten_among(self._database, decisions, decision_ids)

    async def _log(self, entry: LogEntry) -> None:
        (error,) = await self.log_group([entry])
        if error is not None:
            raise error

    async def _written(self, entries: Sequence[LogEntry]) -> list[Exception | None]:
        """Write a group; if PostgreSQL refuses a value in it, write each entry on its own."""
        try:
            group = Group.of(entries, store_texts=self._store_texts)
            async with self._database.connection(waits_in_turn=True) as connection:
                rows = await connection.fetch(_LOG_GROUP, *group.values)
        except StoreUnavailable:
            raise
        except Exception as error:
            if len(entries) == 1:
                return [error]
            return [problem for entry in entries for problem in await self._written([entry])]
        self._show(rows)
        return problems_of(entries, rows)

    def _show(self, rows: Sequence[Record]) -> None:
        """Show the changed sums in the snapshot."""
        for row in rows:
            if row["problem"] is None:
                self._snapshot.put(row["tenant"], {row["arm_id"]: (row["version"], sums_of(row))})

    async def request_named_by(self, tenant: str, answer_id: str) -> str | None:
        decision_id = decision_named_by(answer_id)
        async with self._database.as_tenant(tenant, readonly=True) as connection:
            rows = await connection.fetch(_NAMED_BY_ANSWER, tenant, storable(answer_id), decision_id)
        return rows[0]["request_id"] if len(rows) == 1 else None

    async def record(self, tenant: str, request_id: str) -> Json | None:
        async with self._database.as_tenant(tenant, readonly=True) as connection:
            return await request_record(connection, tenant, request_id)


# With LIMIT each id is looked up in the index: a join of a small table would read all of it, also when it has
# grown, as long as the plan is kept.
_FIND = f"""
SELECT d.tenant, d.request_id, decision_id, body_digest, arm_id, propensity, kind, {WEIGHED},
    (SELECT count(*) FROM attempts a WHERE a.decision_id = d.decision_id) AS n_attempts
FROM unnest($1::text[], $2::text[]) AS key (tenant, request_id)
CROSS JOIN LATERAL (
    SELECT * FROM decisions WHERE tenant = key.tenant AND request_id = key.request_id LIMIT 1
) d
"""  # noqa: S608  # joins constants


def _logged(row: Record) -> LoggedDecision:
    explained = explanation_of(row)
    return LoggedDecision(
        decision_id=row["decision_id"],
        body_digest=row["body_digest"],
        arm_id=row["arm_id"],
        propensity=row["propensity"],
        kind=row["kind"],
        n_attempts=row["n_attempts"],
        probabilities=tuple((c["arm_id"], c["probability"]) for c in explained["candidates"]),
        step=_step(explained.get("conversation")),
    )


def _step(logged: Json | None) -> ConversationStep | None:
    return ConversationStep(**logged) if logged else None


# One round trip and one commit; migration 0031 says what it does.
_LOG_GROUP = "SELECT * FROM log_group($1, $2, $3, $4, $5, $6, $7, $8, $9)"

# Providers might give one id to two answers: then it names neither.
_NAMED_BY_ANSWER = """
SELECT request_id FROM decisions WHERE decision_id = $3 AND tenant = $1
UNION
SELECT d.request_id FROM outcomes o JOIN decisions d ON d.decision_id = o.decision_id
WHERE o.tenant = $1 AND o.answer_id = $2
LIMIT 2
"""
