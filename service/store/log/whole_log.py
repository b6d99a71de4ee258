"""The whole log as lines of JSON, and back: every row with every column, to the last bit.

PostgreSQL writes and reads the JSON, so that no number is rounded on the way. A line is an object of tables
and their rows; a decision stands in one line with all that belongs to it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from service.errors import StartupError
from service.store.connection.pool import Database

TIMEOUT_S = 3600.0  # a statement may read the whole log

# In the order in which rows refer to one another. Retention adds to `retired_outcomes` as soon as there are
# decisions, so that its rows come before them.
_BEFORE = ("arms", "price_changes", "feedback_reverts", "retired_outcomes")
_OF_DECISIONS = ("request_bodies", "attempts", "outcomes", "shadow_answers", "feedback_events")
_OTHERS = ("sessions", "responses")
TABLES = (*_BEFORE, "decisions", *_OF_DECISIONS, *_OTHERS)
Columns = Mapping[str, Sequence[str]]  # of each table

_COLUMNS = """
SELECT table_name, column_name FROM information_schema.columns
WHERE table_schema = current_schema() AND table_name = ANY ($1)
ORDER BY table_name, ordinal_position
"""


async def columns_of(database: Database) -> dict[str, list[str]]:
    """The columns of each table of the log. Raises StoreUnavailable."""
    columns: dict[str, list[str]] = {table: [] for table in TABLES}
    async with database.transaction(timeout_s=TIMEOUT_S) as connection:
        for row in await connection.fetch(_COLUMNS, list(TABLES)):
            columns[row["table_name"]].append(row["column_name"])
    return columns


def _rows_of(table: str) -> str:
    return f"SELECT json_build_object('{table}', json_build_array(t))::text AS line FROM {table} t"  # noqa: S608


_DECISIONS = f"""
SELECT json_build_object('decisions', json_build_array(d), {
    ", ".join(
        f"'{table}', (SELECT coalesce(json_agg(t), '[]') FROM {table} t WHERE t.decision_id = d.decision_id)"
        for table in _OF_DECISIONS
    )
})::text AS line
FROM decisions d
ORDER BY d.decision_id
"""  # noqa: S608  # joins constants

_NUMBERS = """
SELECT json_build_object('newest', json_build_object(
    'event_id', (SELECT max(event_id) FROM feedback_events),
    'revert_id', (SELECT max(revert_id) FROM feedback_reverts)
))::text AS line
"""


async def lines(database: Database) -> AsyncIterator[str]:
    """The log as of one moment: the newest numbers, the arms, decisions by their ids, then conversations.

    Raises StoreUnavailable.
    """
    parts = [_NUMBERS, *map(_rows_of, _BEFORE), _DECISIONS, *map(_rows_of, _OTHERS)]
    async with database.transaction(timeout_s=TIMEOUT_S, at_one_moment=True) as connection:
        for query in parts:
            async for row in connection.cursor(query, prefetch=100, timeout=TIMEOUT_S):
                yield row["line"].replace("\n", " ")  # none is inside of a text: JSON escapes those


async def require_columns(database: Database, columns: Columns) -> None:
    """Raises StartupError if a file with these columns is of a newer version; StoreUnavailable."""
    known = await columns_of(database)
    for table, names in columns.items():
        if unknown := set(names) - set(known.get(table, ())):
            raise StartupError(
                f"the file is of a newer version, which keeps {', '.join(sorted(unknown))} in {table}: "
                "upgrade this router first"
            )


_TAKEN = """
SELECT f.event_id
FROM unnest($1::text[]) AS line,
    json_populate_recordset(NULL::feedback_events, line::json -> 'feedback_events') n
JOIN feedback_events f ON f.event_id = n.event_id
WHERE f.decision_id <> n.decision_id
LIMIT 1
"""


_IS_EMPTY = "NOT EXISTS (SELECT FROM decisions) AND NOT EXISTS (SELECT FROM retired_outcomes)"
# A log moves into a database without one; a repeated import finds what it left there.
_CLAIM = f"""
INSERT INTO imported_logs (database_id, began_at)
SELECT $1::uuid, now() WHERE {_IS_EMPTY}
ON CONFLICT DO NOTHING
"""
_IS_CLAIMED = "SELECT EXISTS (SELECT FROM imported_logs WHERE database_id = $1::uuid)"
# One start registers every configured arm, as active and at the price of the catalog. Nothing was billed at
# it before the first decision, so that the arms and prices of the file take their place.
_MAKE_ROOM = f"""
WITH theirs AS (
    SELECT n.arm_id
    FROM unnest($1::text[]) AS line, json_populate_recordset(NULL::arms, line::json -> 'arms') n
    WHERE {_IS_EMPTY}
), priced AS (
    DELETE FROM price_changes WHERE arm_id IN (SELECT arm_id FROM theirs)
)
DELETE FROM arms WHERE arm_id IN (SELECT arm_id FROM theirs)
"""  # noqa: S608  # joins constants
# The first lines have the newest numbers of the file: feedback that arrives before the last ones takes none.
_NUMBER_BEHIND = """
SELECT setval(events, greatest((newest ->> 'event_id')::bigint, nextval(events))),
    setval(reverts, greatest((newest ->> 'revert_id')::bigint, nextval(reverts)))
FROM (SELECT line::json -> 'newest' AS newest FROM unnest($1::text[]) AS line) AS numbers,
    (SELECT pg_get_serial_sequence('feedback_events', 'event_id')::regclass AS events,
        pg_get_serial_sequence('feedback_reverts', 'revert_id')::regclass AS reverts) AS sequences
WHERE newest IS NOT NULL
"""
_COUNT_FORGOTTEN = """
SELECT count(*)
FROM unnest($1::text[]) AS line,
    json_populate_recordset(NULL::decisions, line::json -> 'decisions') n
JOIN forgotten_decisions f ON f.decision_id = n.decision_id
"""


@dataclass(frozen=True, slots=True)
class Written:
    """How many decisions were new, and how many were left out since they were deleted here on purpose."""

    n_new: int
    n_forgotten: int


async def write(database: Database, source: str, columns: Columns, written: Sequence[str]) -> Written:
    """Add the rows of some lines, in one transaction.

    Rows that are there already stay as they are, but for the arms of a database without decisions. A decision
    that was forgotten here, or whose request id belongs to another one, is left out, with all that belongs to
    it.

    Args:
        source: identity of the database that the lines are of, in hex.
        columns: as `require_columns` has accepted them.

    Raises:
        StartupError: the database has a log of its own, or has learned since it got this one.
        StoreUnavailable: PostgreSQL does not answer.
    """
    n_new = 0
    async with database.transaction(timeout_s=TIMEOUT_S) as connection:
        await connection.execute(_CLAIM, source)
        if not await connection.fetchval(_IS_CLAIMED, source):
            raise StartupError("the database has decisions of its own: a log moves into an empty database")
        if (taken := await connection.fetchval(_TAKEN, written, timeout=TIMEOUT_S)) is not None:
            raise StartupError(
                f"feedback {taken} of the file is another feedback here: a log moves into an empty database"
            )
        await connection.execute(_MAKE_ROOM, written, timeout=TIMEOUT_S)
        for table in TABLES:
            if names := columns.get(table):
                done = await connection.execute(_insert(table, names), written, timeout=TIMEOUT_S)
                n_new += int(done.split()[-1]) if table == "decisions" else 0
        await connection.execute(_NUMBER_BEHIND, written, timeout=TIMEOUT_S)
        n_forgotten = await connection.fetchval(_COUNT_FORGOTTEN, written, timeout=TIMEOUT_S)
    return Written(n_new, n_forgotten)


_IS_KNOWN = "EXISTS (SELECT FROM decisions d WHERE d.decision_id = n.decision_id)"
_IS_KEPT = "NOT EXISTS (SELECT FROM forgotten_decisions f WHERE f.decision_id = n.decision_id)"
_ONLY_IF = {
    **dict.fromkeys(_OF_DECISIONS, _IS_KNOWN),
    "decisions": _IS_KEPT,
    "sessions": _IS_KEPT,
    "responses": "NOT EXISTS (SELECT FROM forgotten_decisions f"
    " WHERE 'resp_' || replace(f.decision_id::text, '-', '') = n.response_id)",
}


def _insert(table: str, names: Sequence[str]) -> str:
    """Adds rows with these columns; others get their defaults. The names are those of the table's columns."""
    quoted = ", ".join(f'"{name}"' for name in names)
    # Replicas fetch what transactions changed that are newer than their last look.
    values = ", ".join("pg_current_xact_id()" if name == "changed_in" else f'n."{name}"' for name in names)
    return f"""
INSERT INTO {table} ({quoted}) OVERRIDING SYSTEM VALUE
SELECT {values}
FROM unnest($1::text[]) AS line, json_populate_recordset(NULL::{table}, line::json -> '{table}') n
WHERE {_ONLY_IF.get(table, "true")}
ON CONFLICT DO NOTHING
"""  # noqa: S608  # the table is a constant; the names are those of its columns
