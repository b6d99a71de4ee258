"""`router serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from service.commands.options import read_settings


def serve(
    workers: Annotated[int, typer.Option(help="Number of processes; more than one needs QDRANT_URL.")] = 1,
) -> None:
    """Run the service."""
    settings, environ = read_settings()  # before the slow import: the settings may be wrong
    from service.commands.jobs.server import serve

    serve(settings, environ, workers=workers)
