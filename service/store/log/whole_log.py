"""The whole log as lines of JSON, and back: every row with every column, to the last bit.

PostgreSQL writes and reads the JSON, so that no number is rounded on the way. A line is an object of tables
and their rows; a decision stands in one line with all that belongs to it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from uuid import UUID

from service.errors import StartupError
from service.store.connection.pool import Database

TIMEOUT_S = 3600.0  # a statement may read the whole log
FIRST = UUID(int=0)  # before every decision

# In the order in which rows refer to one another, with what parts the rows of a table that are there already.
_BEFORE = ("arms", "price_changes", "feedback_reverts")
_OF_DECISIONS = ("request_bodies", "attempts", "outcomes", "shadow_answers", "feedback_events")
_OTHERS = ("sessions", "responses", "retired_outcomes")
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
WHERE d.decision_id > $1
ORDER BY d.decision_id
"""  # noqa: S608  # joins constants


async def lines(database: Database, *, after: UUID | None = None) -> AsyncIterator[str]:
    """The log as of one moment: the arms, then decisions by their ids, then conversations.

    Args:
        after: begin behind this decision; None: with the arms.

    Raises StoreUnavailable.
    """
    before = _BEFORE if after is None else ()
    parts: list[tuple[str, list[UUID]]] = [
        *((_rows_of(table), []) for table in before),
        (_DECISIONS, [after or FIRST]),
        *((_rows_of(table), []) for table in _OTHERS),
    ]
    async with database.transaction(timeout_s=TIMEOUT_S, at_one_moment=True) as connection:
        for query, arguments in parts:
            async for row in connection.cursor(query, *arguments, prefetch=100, timeout=TIMEOUT_S):
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


async def write(database: Database, columns: Columns, written: Sequence[str]) -> int:
    """Add the rows of some lines, in one transaction; returns how many decisions were new.

    Rows that are there already stay as they are. A decision whose request id belongs to another one is left
    out, with all that belongs to it.

    Args:
        columns: as `require_columns` has accepted them.

    Raises:
        StartupError: the numbers of the feedback are taken: the database has feedback of its own.
        StoreUnavailable: PostgreSQL does not answer.
    """
    n_new = 0
    async with database.transaction(timeout_s=TIMEOUT_S) as connection:
        if (taken := await connection.fetchval(_TAKEN, written, timeout=TIMEOUT_S)) is not None:
            raise StartupError(
                f"feedback {taken} of the file is another feedback here: a log moves into an empty database"
            )
        for table in TABLES:
            if names := columns.get(table):
                done = await connection.execute(_insert(table, names), written, timeout=TIMEOUT_S)
                n_new += int(done.split()[-1]) if table == "decisions" else 0
    return n_new


def _insert(table: str, names: Sequence[str]) -> str:
    """Adds rows with these columns; others get their defaults. The names are those of the table's columns."""
    quoted = ", ".join(f'"{name}"' for name in names)
    # Replicas fetch what transactions changed that are newer than their last look.
    values = ", ".join("pg_current_xact_id()" if name == "changed_in" else f'n."{name}"' for name in names)
    of_known = (
        "WHERE EXISTS (SELECT FROM decisions d WHERE d.decision_id = n.decision_id)"
        if table in _OF_DECISIONS
        else ""
    )
    return f"""
INSERT INTO {table} ({quoted}) OVERRIDING SYSTEM VALUE
SELECT {values}
FROM unnest($1::text[]) AS line, json_populate_recordset(NULL::{table}, line::json -> '{table}') n
{of_known}
ON CONFLICT DO NOTHING
"""  # noqa: S608  # the table is a constant; the names are those of its columns


# The next number of each kind is above all that came with the file.
_GO_ON_BEHIND = """
SELECT setval(
    pg_get_serial_sequence('feedback_events', 'event_id'),
    greatest(max(event_id), nextval(pg_get_serial_sequence('feedback_events', 'event_id')))
)
FROM feedback_events
UNION ALL
SELECT setval(
    pg_get_serial_sequence('feedback_reverts', 'revert_id'),
    greatest(max(revert_id), nextval(pg_get_serial_sequence('feedback_reverts', 'revert_id')))
)
FROM feedback_reverts
"""


async def number_behind(database: Database) -> None:
    """Let new feedback and reverts be numbered behind all that is there. Raises StoreUnavailable."""
    async with database.transaction(timeout_s=TIMEOUT_S) as connection:
        await connection.execute(_GO_ON_BEHIND, timeout=TIMEOUT_S)
