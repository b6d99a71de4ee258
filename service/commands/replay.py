"""`router replay`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from service.commands.options import AsJson, OutcomesFile, OutFolder
from service.commands.output import print_report, progress_bar


def replay(
    file: OutcomesFile,
    url: Annotated[
        str | None, typer.Option(help="Address of a running router; without it, one is started.")
    ] = None,
    rows: Annotated[int | None, typer.Option(help="Number of rows to send; without it, all.")] = None,
    concurrency: Annotated[int, typer.Option(help="Number of requests in flight.")] = 4,
    seed: Annotated[int | None, typer.Option(help="Seed that shuffles the rows.")] = 0,
    out: OutFolder = Path("benchmarks/results/replay"),
    as_json: AsJson = False,
) -> None:
    """Send recorded prompts to a router.

    Rates each answer with its recorded score, and compares the router with fixed choices on the same rows.
    The exit code is 1 if a request failed.
    """
    from service.commands.jobs.replay.demo import replay_file

    with progress_bar() as progress:
        report = asyncio.run(
            replay_file(
                file,
                url=url,
                rows=rows,
                concurrency=concurrency,
                seed=seed,
                out_dir=out,
                progress=progress,
            )
        )
    text = f"{report.to_text()}\nreport.txt, report.json and report.png are in {out}"
    print_report(report.to_json(), text, as_json=as_json)
    if report.n_failed:
        raise typer.Exit(1)
