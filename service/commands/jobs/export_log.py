"""The command `export --log`: all that was logged, as one file that `import` reads."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

import orjson

from service.bootstrap.existing import open_existing_database
from service.commands.jobs.log_file import END, Head, read_head
from service.errors import StartupError
from service.settings.settings import Settings
from service.store.connection.identity import database_identity
from service.store.connection.pool import Database
from service.store.log.whole_log import columns_of, lines

_DECISION = b'{"decisions" :'


@dataclass(frozen=True, slots=True)
class ExportedLog:
    """How many decisions the written file has."""

    file: str
    n_decisions: int

    def text(self) -> str:
        return f"{self.n_decisions} decisions with all that belongs to them\nwritten to {self.file}"


async def export_log(settings: Settings, file: Path, *, resume: bool) -> ExportedLog:
    """Write the log of all tenants; an existing file is replaced once the new one is complete.

    An export that is interrupted leaves `FILE.part`.

    Args:
        resume: go on with `FILE.part`.

    Raises:
        StartupError: there is no database, the file cannot be written, or the part is of another database.
        StoreUnavailable: PostgreSQL stopped answering; go on with `resume`.
    """
    part = file.with_name(f"{file.name}.part")
    async with AsyncExitStack() as stack:
        database = await open_existing_database(settings, stack)
        head = Head((await database_identity(database)).hex, await columns_of(database))
        try:
            n_before, after = _part_of(part, head) if resume else (0, None)
            # For its owner alone: it may hold texts.
            with os.fdopen(os.open(part, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600), "ab") as written:
                os.chmod(part, 0o600)  # also a part that was copied here
                if n_before == 0:
                    written.truncate(0)
                    written.write(head.line())
                n_decisions = n_before + await _write(database, written, after)
            part.replace(file)
        except OSError as error:
            raise StartupError(f"{file}: cannot be written: {error.strerror or error}") from error
    return ExportedLog(str(file), n_decisions)


async def _write(database: Database, written: BinaryIO, after: UUID | None) -> int:
    n_decisions = 0
    async for line in lines(database, after=after):
        text = line.encode()
        written.write(text + b"\n")
        n_decisions += text.startswith(_DECISION)
    written.write(END)
    return n_decisions


def _part_of(part: Path, head: Head) -> tuple[int, UUID | None]:
    """How many decisions the part has, and the last of them; what is behind it is cut off.

    Raises StartupError, OSError.
    """
    if not part.exists():
        raise StartupError(f"there is no {part} to go on with")
    if read_head(part) != head:
        raise StartupError(f"{part} is of another database, or of another version: export without --resume")
    n_decisions, last, end = 0, b"", 0
    with part.open("rb") as lines_of_part:
        for line in lines_of_part:
            end += len(line)
            if line.startswith(_DECISION) and line.endswith(b"\n"):
                n_decisions, last, kept = n_decisions + 1, line, end
    if not last:
        return 0, None
    os.truncate(part, kept)
    return n_decisions, UUID(orjson.loads(last)["decisions"][0]["decision_id"])
