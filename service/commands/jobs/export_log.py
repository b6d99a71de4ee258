"""The command `export --log`: all that was logged, as one file that `import` reads."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from service.bootstrap.existing import open_existing_database
from service.commands.jobs.log_file import END, Head
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


async def export_log(settings: Settings, file: Path) -> ExportedLog:
    """Write the log of all tenants, as of one moment; a file that is there is replaced by a complete one.

    An export that is interrupted leaves `FILE.part`, and the next one begins again: what a running service
    changed meanwhile is anywhere in the log.

    Raises:
        StartupError: there is no database, or the file cannot be written.
        StoreUnavailable: PostgreSQL stopped answering; export again.
    """
    part = file.with_name(f"{file.name}.part")
    async with AsyncExitStack() as stack:
        database = await open_existing_database(settings, stack)
        head = Head((await database_identity(database)).hex, await columns_of(database))
        try:
            # For its owner alone: it may hold texts.
            with os.fdopen(os.open(part, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as written:
                os.chmod(part, 0o600)  # also one that was there
                written.write(head.line())
                n_decisions = await _write(database, written)
            part.replace(file)
        except OSError as error:
            raise StartupError(f"{file}: cannot be written: {error.strerror or error}") from error
    return ExportedLog(str(file), n_decisions)


async def _write(database: Database, written: BinaryIO) -> int:
    n_decisions = 0
    async for line in lines(database):
        text = line.encode()
        written.write(text + b"\n")
        n_decisions += text.startswith(_DECISION)
    written.write(END)
    return n_decisions
