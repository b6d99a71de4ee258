"""`router migrate`."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from service.commands.options import AsJson, read_settings
from service.commands.output import print_report


def migrate(as_json: AsJson = False) -> None:
    """Bring the database schema up to date.

    `router serve` does it too.
    """
    applied = asyncio.run(_migrate())
    print_report({"applied": applied}, "\n".join(applied) or "the schema is up to date", as_json=as_json)


async def _migrate() -> list[str]:
    from service.bootstrap.basics import no_progress
    from service.bootstrap.database import open_database
    from service.store.connection.migrate import migrate

    settings, _ = read_settings()
    async with AsyncExitStack() as stack:
        return await migrate(
            await open_database(settings, settings.data_dir, stack, no_progress, is_for_command=True)
        )
