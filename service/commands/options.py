"""Options that several commands share, and the settings that all of them read."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

if TYPE_CHECKING:
    from service.settings.environment import Environment
    from service.settings.settings import Settings


class ModelName(NamedTuple):
    """A model's name in a file, and the router's model that it stands for."""

    in_file: str
    in_router: str


def read_settings() -> tuple[Settings, Environment]:
    """The settings, and the environment that they were read from; logs are set up by them.

    Logs go to standard error, so that a report on standard output stays alone. From here on the process
    creates files for its user alone. Raises StartupError.
    """
    from service.private_files import create_privately
    from service.settings.load import config_path, load_settings, process_environment

    create_privately()
    environ = process_environment()
    settings = load_settings(config_path(environ), environ)
    from service.telemetry import set_up_logs  # after the settings, whose faults are then shown at once

    set_up_logs(settings.log_level, settings.log_format, settings.kept_log)
    return settings, environ


def parse_time(text: str) -> datetime:
    """Read an ISO 8601 time, in UTC unless it says otherwise, or an age."""
    from service.domain.moments import parse_moment

    try:
        return parse_moment(text, datetime.now(UTC))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def parse_tenant(text: str) -> str:
    if not re.fullmatch(r"[!-~]{1,128}", text):
        raise typer.BadParameter(f"must be 1 to 128 visible ASCII characters, got {text!r}")
    return text


def parse_model_name(text: str) -> ModelName:
    name, _, model = text.partition("=")
    if not (name and model):
        raise typer.BadParameter(f"must be NAME=MODEL, got {text!r}")
    return ModelName(name, model)


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
RouterUrl = Annotated[
    str | None,
    typer.Option(
        "--url", envvar="ROUTER_URL", help="Address of the router (default: HOST and PORT of the settings)."
    ),
]
OutcomesFile = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="Parquet file of prompts with the score and the cost of each model."),
]
OutFolder = Annotated[Path, typer.Option(help="Folder for report.txt, report.json and report.png.")]
# None is the tenant of requests without one: importing that name would make `--help` slow.
Tenant = Annotated[
    str | None,
    typer.Option(parser=parse_tenant, metavar="NAME", help="Tenant of the requests (default: default)."),
]
