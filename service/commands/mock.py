"""`router mock`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer


def mock(
    answers: Annotated[Path, typer.Option(metavar="FILE", help="YAML or JSON file of the answers.")],
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 8091,
) -> None:
    """Serve canned answers like a provider.

    Speaks OpenAI's and Anthropic's API on 127.0.0.1, and prints the CONFIG_FILE of a router that asks it.
    """
    from service.commands.jobs.mock.provider import serve_mock

    asyncio.run(serve_mock(answers, port, typer.echo))
