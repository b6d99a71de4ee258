"""`router evaluate`."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from service.commands.options import AsJson, Tenant, parse_time, read_settings
from service.errors import StartupError


def evaluate(
    config: Annotated[Path, typer.Option(help="YAML file with the settings to evaluate.")],
    since: Annotated[
        datetime | None,
        typer.Option(
            parser=parse_time,
            metavar="TIME",
            help="Start of the range: an ISO 8601 time, or an age such as 7d or 12h (default: 7d).",
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(parser=parse_time, metavar="TIME", help="End of the range (default: now)."),
    ] = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> None:
    """Judge other settings by the log.

    Estimates reward, cost and latency from logged decisions, without sending a request.
    If the log cannot tell, the report says why and the exit code is 3.
    """
    from service.commands.jobs.evaluate_log import evaluate_log
    from service.domain.basics import DEFAULT_TENANT
    from service.evaluation.report import as_json as to_json
    from service.evaluation.report import as_text
    from service.settings.load import overlaid

    since, until = since or parse_time("7d"), until or parse_time("0d")
    if not since < until:
        raise StartupError(f"--since must be before --until, got {since} and {until}")
    settings, environ = read_settings()
    evaluation = asyncio.run(
        evaluate_log(
            settings,
            overlaid(settings, config),
            environ,
            tenant=tenant or DEFAULT_TENANT,
            since=since,
            until=until,
        )
    )
    typer.echo(to_json(evaluation) if as_json else as_text(evaluation))
    if evaluation.refusal:
        raise typer.Exit(3)
