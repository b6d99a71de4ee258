"""`router export`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from service.commands.options import AsJson, Tenant, read_settings
from service.commands.output import print_report


def export(
    policy: Annotated[Path, typer.Option("--policy", metavar="FILE", help="JSON Lines file to write.")],
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> None:
    """Write what was learned into one file, without any text.

    `router import FILE` reads it on another router with the same encoder.
    """
    from service.commands.jobs.export_policy import export_policy
    from service.domain.basics import DEFAULT_TENANT

    settings, environ = read_settings()
    exported = asyncio.run(export_policy(settings, environ, policy, tenant or DEFAULT_TENANT))
    print_report(exported, exported.text(), as_json=as_json)
