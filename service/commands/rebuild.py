"""`router rebuild`."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from service.commands.options import AsJson, read_settings
from service.commands.output import print_report


def rebuild(
    check: Annotated[bool, typer.Option("--check", help="Only report differences; change nothing.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Empty the memory if PostgreSQL has no decisions.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Rebuild memory and evidence from PostgreSQL.

    Reports how many differences there were, and how many are left.
    The exit code is 1 if any are left.
    """
    from service.commands.jobs.reconcile import rebuild

    settings, environ = read_settings()
    rebuilt = asyncio.run(rebuild(settings, environ, check_only=check, force=force))
    print_report(rebuilt, rebuilt.text(), as_json=as_json)
    if not rebuilt.is_clean:
        raise typer.Exit(1)
