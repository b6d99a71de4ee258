"""What commands print: a report on standard output, progress on standard error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Protocol

import typer

if TYPE_CHECKING:
    from service.learning.importing.importer import Added


def print_report(value: object, text: str, *, as_json: bool) -> None:
    """Print a report as text, or the value behind it as JSON: whatever orjson can write."""
    import orjson

    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2) if as_json else text)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Text in columns: names to the left, everything else to the right."""
    lines = [headings, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(headings))]
    return "\n".join(
        "  ".join(
            text.ljust(width) if i == 0 else text.rjust(width)
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def number(value: float | None, unit: str = "") -> str:
    """A number with at most three significant digits after the point; a dash for none."""
    if value is None:
        return "-"
    is_whole = abs(value) >= 1000 or value == int(value)
    text = f"{value:.0f}" if is_whole else f"{Decimal(f'{value:.3g}'):f}"  # without an exponent
    return f"{text}{unit}"


def dollars(value: float | None) -> str:
    """An amount of money; the sign stands before the dollar."""
    return "-" if value is None else f"{'-' if value < 0 else ''}${number(abs(value))}"


ROWS_ADDED = {
    "imported": "{} rows imported",
    "known": "{} rows already imported",
    "refused": "{} rows rejected: their request_id belongs to another request",
}


def rows_added(n_added: Mapping[Added, int]) -> list[str]:
    """What became of the rows of an import, a line each."""
    return [ROWS_ADDED[how].format(n) for how, n in sorted(n_added.items())]


class ShowProgress(Protocol):
    """Shows the steps done, the steps in all, and a note beside them."""

    def __call__(self, done: int, in_all: int, note: str = "") -> None: ...


@contextmanager
def progress_bar() -> Iterator[ShowProgress]:
    """Show a progress bar with the time left on standard error if that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"), TimeRemainingColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None, note="")

        def show(done: int, in_all: int, note: str = "") -> None:
            bar.update(task, completed=done, total=in_all, note=note)

        yield show
