"""The command `export`: what a tenant's ratings taught, as one file that `import` reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import orjson

from service.bootstrap.basics import no_progress
from service.bootstrap.existing import open_existing_database
from service.bootstrap.vectors import open_encoders
from service.errors import StartupError
from service.learning.importing.rows import exported
from service.settings.settings import Settings
from service.store.evidence.rebuild import experiences_of


@dataclass(frozen=True, slots=True)
class Exported:
    """The rows of the written file, by arm id."""

    file: str
    n_by_arm: Mapping[str, int]

    def text(self) -> str:
        lines = [f"{arm_id}: {n} rows" for arm_id, n in sorted(self.n_by_arm.items())]
        return "\n".join([*lines, f"written to {self.file}"])


async def export_policy(settings: Settings, environ: Mapping[str, str], file: Path, tenant: str) -> Exported:
    """Write every rated decision of a tenant; an existing file is replaced once the new one is complete.

    Raises:
        StartupError: there is no database, nothing was rated, or the file cannot be written.
        StoreUnavailable: PostgreSQL stopped answering.
    """
    n_by_arm = Counter[str]()
    part = file.with_name(f"{file.name}.part")
    async with AsyncExitStack() as stack:
        database = await open_existing_database(settings, stack)
        encoder = (await open_encoders(settings, environ, stack, no_progress)).decisions
        try:
            with part.open("wb") as lines:
                async for experience in experiences_of(database, encoder.name, tenant):
                    lines.write(orjson.dumps(exported(experience)) + b"\n")
                    n_by_arm[experience.arm_id] += 1
            if not n_by_arm:
                raise StartupError(
                    f"nothing to export: no rated request of {tenant} has a vector of this encoder"
                )
            part.replace(file)
        except OSError as error:
            raise StartupError(f"{file}: cannot be written: {error.strerror or error}") from error
        finally:
            part.unlink(missing_ok=True)
    return Exported(str(file), n_by_arm)
