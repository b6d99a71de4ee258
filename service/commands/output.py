"""What commands print: a report on standard output, progress on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer


def print_report(value: object, text: str, *, as_json: bool) -> None:
    """Print a report as text, or the value behind it as JSON: whatever orjson can write."""
    import orjson

    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2) if as_json else text)


@contextmanager
def progress_bar() -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on standard error if that is a terminal.

    Yields a function that takes the steps done and the steps in all.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    columns = BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, in_all: bar.update(task, completed=done, total=in_all)
