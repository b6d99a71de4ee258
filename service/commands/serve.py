"""`router serve`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from service.commands.options import read_settings


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (default: HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (default: PORT).")] = None,
    workers: Annotated[int, typer.Option(help="Number of processes; more than one needs QDRANT_URL.")] = 1,
) -> None:
    """Run the service."""
    for name, value in (("HOST", host), ("PORT", port)):
        if value is not None:
            os.environ[name] = str(value)  # which overrides every other source, in worker processes too
    settings, environ = read_settings()  # before the slow import: the settings may be wrong
    from service.commands.jobs.server import serve

    serve(settings, environ, workers=workers)
