"""`router check`."""

from __future__ import annotations

from typing import Annotated

import typer

from service.commands.options import AsJson
from service.commands.output import print_report


def check(
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Ask each provider whether it accepts its key, which costs nothing."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check the settings without starting.

    Shows the models that a start would use, and every error and warning with its file and line.
    No file is written, and no provider is called without --probe.
    The exit code is 1 if an error would stop the start.
    """
    from service.commands.jobs.check import check
    from service.settings.load import process_environment

    checked = check(process_environment(), probe=probe)
    print_report(checked, checked.text(), as_json=as_json)
    if not checked.is_sound:
        raise typer.Exit(1)
