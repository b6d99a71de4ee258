"""`router forget`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.options import AsJson, parse_tenant, parse_time, read_settings
from service.commands.output import print_report

if TYPE_CHECKING:
    from service.domain.forgotten import Selection


def forget(
    request: Annotated[
        str | None, typer.Option(metavar="ID", help="Forget one request (X-Request-ID).")
    ] = None,
    session: Annotated[
        str | None, typer.Option(metavar="ID", help="Forget all requests of a conversation (session_id).")
    ] = None,
    tenant: Annotated[
        str | None,
        typer.Option(
            parser=parse_tenant,
            metavar="NAME",
            help="Forget all requests of a tenant; or the tenant of --request or --session "
            "(default: default).",
        ),
    ] = None,
    before: Annotated[
        datetime | None,
        typer.Option(
            parser=parse_time,
            metavar="TIME",
            help="Forget only requests before an ISO 8601 time, or older than an age such as 90d.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be deleted.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete requests, with everything that was stored of them, and what was learned from them.

    The service may run meanwhile. The exit code is 3 if some of it is left: the report says what.
    """
    from service.commands.jobs.forget import count, forget

    selection = _selection(request, session, tenant, before)
    settings, environ = read_settings()
    if dry_run or not yes:
        counted = asyncio.run(count(settings, selection))
        if dry_run:
            print_report(counted, counted.text(), as_json=as_json)
            return
        typer.echo(counted.text(), err=True)
        typer.confirm("Delete all of this for good?", abort=True, err=True)
    report = asyncio.run(forget(settings, environ, selection))
    print_report(report, report.text(), as_json=as_json)
    if not report.is_whole:
        raise typer.Exit(3)


def _selection(
    request_id: str | None, session_id: str | None, tenant: str | None, before: datetime | None
) -> Selection:
    """What the options name. Raises BadParameter."""
    from service.domain.basics import DEFAULT_TENANT
    from service.domain.forgotten import Selection

    if (request_id, session_id, tenant, before) == (None, None, None, None):
        raise typer.BadParameter("one of --request, --session, --tenant and --before must be given")
    if tenant is None and (request_id is not None or session_id is not None):
        tenant = DEFAULT_TENANT
    now = datetime.now(UTC)
    try:
        return Selection(min(before or now, now), tenant, request_id, session_id)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
