"""`router feedback`: takes ratings back that should not have counted."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated

import typer

from service.commands.options import AsJson, Tenant, parse_time, read_settings
from service.commands.output import print_report
from service.errors import StartupError

feedback = typer.Typer(rich_markup_mode=None, no_args_is_help=True)


@feedback.callback()
def about() -> None:
    """Take ratings back that should not have counted."""


@feedback.command()
def revert(
    since: Annotated[
        datetime,
        typer.Option(
            parser=parse_time,
            metavar="TIME",
            help="Ratings received from then on: an ISO 8601 time, or an age such as 7d or 12h.",
        ),
    ],
    until: Annotated[
        datetime | None,
        typer.Option(parser=parse_time, metavar="TIME", help="End of the range (default: now)."),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Only ratings of this key: its id or name; none: without a key."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only ratings from this source, as its caller named it."),
    ] = None,
    tenant: Tenant = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count the ratings.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make the router forget ratings as if they had never been sent.

    A router may run meanwhile; its feedback waits. Nothing is deleted: the log shows what was reverted.
    """
    from service.commands.jobs.revert_feedback import WhichRatings, revert_feedback
    from service.domain.basics import DEFAULT_TENANT

    if key is None and source is None:
        raise typer.BadParameter("name at least one", param_hint="--key or --source")
    until = until or parse_time("0d")
    if not since < until:
        raise StartupError(f"--since must be before --until, got {since} and {until}")
    settings, _ = read_settings()
    which = WhichRatings(tenant or DEFAULT_TENANT, key, source, since, until)
    done = asyncio.run(revert_feedback(settings, which, dry_run=dry_run))
    print_report(done, done.text(), as_json=as_json)
