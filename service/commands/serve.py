"""`router serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from service.commands.options import read_settings


def serve(
    workers: Annotated[int, typer.Option(help="Number of processes; more than one needs QDRANT_URL.")] = 1,
) -> None:
    """Run the service."""
    from service.commands.jobs.server import serve

    settings, environ = read_settings()
    serve(settings, environ, workers=workers)
