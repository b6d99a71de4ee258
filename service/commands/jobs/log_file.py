"""The first and the last line of a file that holds a log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import orjson

from service.errors import StartupError
from service.store.log.whole_log import TABLES, Columns

VERSION = 1
END = b'{"router_log_end":true}\n'
_MARK = b'{"router_log":'


@dataclass(frozen=True, slots=True)
class Head:
    """The first line.

    Args:
        database: identity of the database that the log is of.
        columns: those that the rows of each table have.
    """

    database: str
    columns: Columns

    def line(self) -> bytes:
        return (
            orjson.dumps({"router_log": VERSION, "database": self.database, "columns": self.columns}) + b"\n"
        )


def is_log(file: Path) -> bool:
    """Whether the file was written by `router export --log`."""
    try:
        with file.open("rb") as lines:
            return lines.read(len(_MARK)) == _MARK
    except OSError as error:
        raise StartupError(f"{file}: cannot be read: {error.strerror or error}") from error


def complete_size(file: Path) -> int:
    """The size in bytes. Raises StartupError: the last line is missing; OSError."""
    size = file.stat().st_size
    with file.open("rb") as lines:
        lines.seek(max(0, size - len(END)))
        if lines.read() != END:
            raise StartupError(f"{file}: the end is missing: export the log again")
    return size


def read_head(file: Path) -> Head:
    """The first line. Raises StartupError: it is of a newer version, or damaged; OSError."""
    with file.open("rb") as lines:
        try:
            head = orjson.loads(lines.readline())
            version, database, columns = head["router_log"], head["database"], head["columns"]
        except (ValueError, KeyError, TypeError) as error:
            raise StartupError(f"{file}: the first line is not that of a log of the router") from error
    if not isinstance(version, int) or version > VERSION:
        raise StartupError(
            f"{file}: is of version {version}, and this router reads up to {VERSION}: upgrade it"
        )
    if unknown := sorted(set(columns) - set(TABLES)):
        raise StartupError(
            f"{file}: is of a newer version, which has {', '.join(unknown)}: upgrade this router"
        )
    return Head(database, columns)
