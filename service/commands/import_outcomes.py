"""`router import`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from service.commands.options import AsJson, ModelName, Tenant, parse_model_name, read_settings
from service.commands.output import print_report, progress_bar


def import_outcomes(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON Lines or Parquet file.")],
    tenant: Tenant = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check and count the rows.")] = False,
    model_names: Annotated[
        list[ModelName],
        typer.Option(
            "--map",
            parser=parse_model_name,
            metavar="NAME=MODEL",
            help="Treat model NAME in the file as the router's model MODEL; repeatable.",
        ),
    ] = [],  # noqa: B006  # typer copies it
    as_json: AsJson = False,
) -> None:
    """Learn from outcomes recorded elsewhere, or take over the log of another router.

    A file of `router export --log` is taken over as it is; the options for rows do not apply to it.
    The whole file is checked before any row is written.
    Importing a file again changes nothing.
    """
    from service.commands.jobs.import_file import import_file
    from service.commands.jobs.import_log import import_log
    from service.commands.jobs.log_file import is_log
    from service.domain.basics import DEFAULT_TENANT

    settings, environ = read_settings()
    if is_log(file):
        if tenant is not None or dry_run or model_names:
            raise typer.BadParameter(
                "a log is taken over as it is", param_hint="'--tenant' / '--dry-run' / '--map'"
            )
        with progress_bar() as progress:
            moved = asyncio.run(import_log(settings, environ, file, progress=progress))
        print_report(moved, moved.text(), as_json=as_json)
        return
    with progress_bar() as progress:
        imported = asyncio.run(
            import_file(
                settings,
                environ,
                file,
                tenant=tenant or DEFAULT_TENANT,
                same_as=dict(model_names),
                dry_run=dry_run,
                progress=progress,
            )
        )
    print_report(imported, imported.text(), as_json=as_json)
