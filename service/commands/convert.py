"""`router convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def convert(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Configuration of InferSwitch, as JSON.")],
) -> None:
    """Convert the configuration of another router.

    Prints a CONFIG_FILE on standard output, and on standard error what has no counterpart here.
    Keys of providers are never written: the file names the environment variables that hold them.
    """
    from service.commands.jobs.convert.inferswitch import converted, read_inferswitch

    result = converted(read_inferswitch(file))
    typer.echo(result.yaml(file.name), nl=False)
    for note in result.notes:
        typer.echo(f"router: {note}", err=True)
