"""`router export`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from service.commands.options import AsJson, Tenant, read_settings
from service.commands.output import print_report


def export(
    policy: Annotated[
        Path | None, typer.Option("--policy", metavar="FILE", help="Write what was learned, as JSON Lines.")
    ] = None,
    log: Annotated[
        Path | None, typer.Option("--log", metavar="FILE", help="Write the whole log, as JSON Lines.")
    ] = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> None:
    """Write what was learned, without any text, or the whole log into one file.

    `router import FILE` reads it on another router with the same encoder.
    The log is that of all tenants: decisions, attempts, outcomes, feedback, models added at runtime,
    conversations, and texts if they are stored.
    """
    from service.commands.jobs.export_log import export_log
    from service.commands.jobs.export_policy import export_policy
    from service.domain.basics import DEFAULT_TENANT

    if (policy is None) == (log is None):
        raise typer.BadParameter("name one file", param_hint="'--policy' / '--log'")
    settings, environ = read_settings()
    if log is not None:
        if tenant is not None:
            raise typer.BadParameter("a log is that of all tenants", param_hint="'--tenant'")
        whole = asyncio.run(export_log(settings, log))
        print_report(whole, whole.text(), as_json=as_json)
        return
    assert policy is not None
    exported = asyncio.run(export_policy(settings, environ, policy, tenant or DEFAULT_TENANT))
    print_report(exported, exported.text(), as_json=as_json)
