"""Write `docs/cli.md` from the commands: `python -m tests.cli_reference`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "cli.md"
TITLE = "Commands"
HEAD = """Reference: the commands of `router`, written from the code by `python -m tests.cli_reference`.

`make setup` installs the router into `.venv`; the command is `.venv/bin/router`.
`make serve` and `make demo` install first and then run the command of that name.
`router --install-completion` sets up completion for your shell.
With `--json` a command prints its report as JSON on standard output, and nothing else there.

How-to pages: [warm start](how-to/warm-start.md), [evaluate other settings](how-to/evaluate-settings.md).
"""


def reference() -> str:
    """The page: what typer writes of the commands, below our own head."""
    command = ["-m", "typer", "service.cli", "utils", "docs", "--name", "router", "--title", TITLE]
    run = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=True)
    heading, rest = run.stdout.strip().split("\n", 1)
    return f"{heading}\n\n{HEAD}{rest}\n"


if __name__ == "__main__":
    PAGE.write_text(reference(), "utf-8")
