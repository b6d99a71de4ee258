"""`router upstream`."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from service.commands.options import OutcomesFile


def upstream(
    file: OutcomesFile,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 8090,
) -> None:
    """Serve recorded models like a provider.

    Speaks OpenAI's API on 127.0.0.1, and prints the CONFIG_FILE of a router that uses it.
    """
    from service.commands.jobs.replay.upstream import serve_upstream

    asyncio.run(serve_upstream(file, port, typer.echo))
