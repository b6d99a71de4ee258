"""The command `import` for a file of `export --log`: the log of another database, with all that it taught."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from service.bootstrap.basics import no_progress
from service.bootstrap.database import open_database
from service.bootstrap.vectors import open_encoders
from service.commands.jobs.log_file import END, complete_size, read_head
from service.errors import StartupError
from service.settings.settings import Settings
from service.store.connection.migrate import migrate
from service.store.evidence.rebuild import enqueue_newest, rebuild_evidence
from service.store.log.whole_log import require_columns, write

MOST_LINES = 500
MOST_BYTES = 4_000_000  # of lines in memory at once, but for the last

Progress = Callable[[int, int], None]  # bytes done, bytes in all


@dataclass(frozen=True, slots=True)
class ImportedLog:
    """How many decisions were new, were left out as deleted here, and how many more the memory gets."""

    n_decisions: int
    n_forgotten: int
    n_queued: int

    def text(self) -> str:
        left_out = (
            f"\n{self.n_forgotten} decisions were left out: they were deleted here"
            if self.n_forgotten
            else ""
        )
        return (
            f"{self.n_decisions} new decisions\n{self.n_queued} of them are on their way into the memory"
            f"{left_out}"
        )


async def import_log(
    settings: Settings, environ: Mapping[str, str], file: Path, *, progress: Progress
) -> ImportedLog:
    """Add every row of the file with its ids and times, and fold the feedback again.

    A second import changes nothing, and one that was interrupted is repeated. A running service updates the
    memory within seconds; otherwise the next one to start does.

    Raises:
        StartupError: the file is not complete or of a newer version, or the database has a log of its own.
        StoreUnavailable: PostgreSQL stopped answering; import the file again.
    """
    if not settings.enable_persistence and settings.database_url is None:
        raise StartupError("ENABLE_PERSISTENCE is false: an imported log would not be kept")
    try:
        head, size = read_head(file), complete_size(file)
        async with AsyncExitStack() as stack:
            database = await open_database(
                settings, settings.data_dir, stack, no_progress, is_for_command=True
            )
            await migrate(database)
            await require_columns(database, head.columns)
            encoder = (await open_encoders(settings, environ, stack, no_progress)).decisions
            n_decisions, n_forgotten, n_bytes = 0, 0, 0
            for batch in _batches(file):
                texts = [line.decode() for line in batch]
                written = await write(database, head.database, head.columns, texts)
                n_decisions += written.n_new
                n_forgotten += written.n_forgotten
                n_bytes += sum(map(len, batch))
                progress(min(n_bytes, size), size)
            await rebuild_evidence(database)
            n_queued = await enqueue_newest(database, encoder.name, settings.memory_points_per_arm)
    except OSError as error:
        raise StartupError(f"{file}: cannot be read: {error.strerror or error}") from error
    return ImportedLog(n_decisions, n_forgotten, n_queued)


def _batches(file: Path) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    n_bytes = 0
    with file.open("rb") as lines:
        lines.readline()
        for line in lines:
            if line == END:
                break
            batch.append(line)
            n_bytes += len(line)
            if len(batch) == MOST_LINES or n_bytes >= MOST_BYTES:
                yield batch
                batch, n_bytes = [], 0
    if batch:
        yield batch
