"""`router`: the commands, and what a command's error looks like."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import typer

from service.commands.ask import ask
from service.commands.calibrate import calibrate
from service.commands.check import check
from service.commands.convert import convert
from service.commands.demo import demo
from service.commands.evaluate import evaluate
from service.commands.export import export
from service.commands.feedback import feedback
from service.commands.forget import forget
from service.commands.import_outcomes import import_outcomes
from service.commands.keys import keys
from service.commands.mcp import mcp
from service.commands.migrate import migrate
from service.commands.mock import mock
from service.commands.models import models
from service.commands.optimize import optimize
from service.commands.rebuild import rebuild
from service.commands.replay import replay
from service.commands.serve import serve
from service.commands.stats import stats
from service.commands.upstream import upstream
from service.errors import RouterError

COMMANDS: Mapping[str, Callable[..., None] | typer.Typer] = {
    "serve": serve,
    "ask": ask,
    "check": check,
    "models": models,
    "stats": stats,
    "migrate": migrate,
    "rebuild": rebuild,
    "forget": forget,
    "import": import_outcomes,
    "export": export,
    "convert": convert,
    "calibrate": calibrate,
    "evaluate": evaluate,
    "replay": replay,
    "demo": demo,
    "upstream": upstream,
    "mock": mock,
    "keys": keys,
    "feedback": feedback,
    "optimize": optimize,
    "mcp": mcp,
}

HELP = """Route LLM requests and learn from feedback.

Settings come from the environment, `.env` and the file that CONFIG_FILE names.

An error is one line on standard error; faults of the settings are a line each.
The exit code is 0 for success, 1 for an error, 2 for wrong arguments and 130 after Ctrl-C.
"""

app = typer.Typer(
    help=HELP,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,  # plain help starts faster, and other programs can read it
)


@app.callback(invoke_without_command=True, help=HELP)
def router(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Print the version, or the help if no command is given."""
    if version:
        typer.echo(f"llm-router {importlib.metadata.version('llm-router')}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


for name, command in COMMANDS.items():
    if isinstance(command, typer.Typer):
        app.add_typer(command, name=name)
    else:
        app.command(name)(command)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; an error is reported in one line."""
    try:
        code: int | None = typer.main.get_command(app).main(argv, prog_name="router", standalone_mode=False)
    except typer.TyperException as error:  # the arguments break a rule
        return _report(f"{error.format_message()} (see --help)", 2)
    except RouterError as error:
        return _report(str(error), 1)
    return code or 0


def _report(error: str, code: int) -> int:
    typer.echo(f"router: {error}", err=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
