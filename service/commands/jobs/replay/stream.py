"""Recorded prompts as a stream of requests to a running router."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import numpy as np

from service.commands.jobs.replay.chart import draw_chart
from service.commands.jobs.replay.client import RouterClient, RowFailed
from service.commands.jobs.replay.extra import require_extra
from service.commands.jobs.replay.outcomes import Outcomes
from service.commands.jobs.replay.report import Failed, Report, Routed
from service.errors import RouterError, StartupError

Progress = Callable[[int, int], None]  # requests done, requests in all


async def replay(
    outcomes: Outcomes,
    *,
    url: str,
    rows: int | None = None,
    concurrency: int = 4,
    seed: int | None = None,
    out_dir: Path | None = None,
    progress: Progress | None = None,
) -> Report:
    """Send recorded prompts to a router, post the recorded scores as feedback, and report the result.

    Requests start in order, a few at a time, so that most requests come after the feedback on earlier ones.

    Args:
        outcomes: the record.
        url: of a router whose arms are the recorded models.
        rows: number of rows to send; None: all.
        concurrency: requests in flight.
        seed: shuffles the rows; None: the file's order.
        out_dir: where report.txt, report.json and report.png are written; None: nowhere.
        progress: called after every request.

    Raises:
        StartupError: the `replay` extra is not installed, a number is out of range, no router
            answers at `url`, or its arms are not the recorded models.
        RouterError: every request failed.
    """
    require_extra()
    for name, value, least in (("rows", rows, 1), ("concurrency", concurrency, 1), ("seed", seed, 0)):
        if value is not None and value < least:
            raise StartupError(f"{name} must be at least {least}, got {value}")
    order = _order(len(outcomes.prompts), rows, seed)
    async with RouterClient(url) as client:
        await client.check(outcomes.models)
        results = await _drive(client, outcomes, order, concurrency, progress or (lambda _done, _all: None))
    routed = [result for result in results if isinstance(result, Routed)]
    failed = [result for result in results if isinstance(result, Failed)]
    if not routed:
        raise RouterError(f"all {len(failed)} requests failed; the first: {failed[0].error}")
    report = Report.of(outcomes, routed, failed)
    if out_dir is not None:
        save(report, out_dir)
    return report


def save(report: Report, out_dir: Path) -> None:
    """Write report.txt, report.json and report.png."""
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / "report.txt").write_text(report.to_text() + "\n", "utf-8")
    (out_dir / "report.json").write_text(json.dumps(report.to_json(), indent=1) + "\n", "utf-8")
    draw_chart(report, out_dir / "report.png")


def _order(n: int, rows: int | None, seed: int | None) -> list[int]:
    order = np.arange(n) if seed is None else np.random.default_rng(seed).permutation(n)
    return [int(row) for row in order[:rows]]


async def _drive(
    client: RouterClient, outcomes: Outcomes, order: list[int], concurrency: int, progress: Progress
) -> list[Routed | Failed]:
    """Return one result per row, in the order of `order`."""
    run = uuid4().hex[:12]  # makes request ids new: a used id would return the earlier answer
    results: dict[int, Routed | Failed] = {}
    waiting = iter(enumerate(order))

    async def work() -> None:
        for position, row in waiting:
            results[position] = await _route(client, outcomes, row, f"replay-{run}-{position}")
            progress(len(results), len(order))

    async with asyncio.TaskGroup() as workers:
        for _ in range(concurrency):
            workers.create_task(work())
    return [results[position] for position in range(len(order))]


async def _route(client: RouterClient, outcomes: Outcomes, row: int, request_id: str) -> Routed | Failed:
    try:
        model = await client.ask(request_id, outcomes.prompts[row])
        if model not in outcomes.models:
            raise RowFailed(f"completion: answered by {model}, which is not recorded")
        await client.rate(request_id, float(outcomes.scores[row, outcomes.models.index(model)]))
        numbers = await client.numbers(request_id)
    except RowFailed as error:
        return Failed(row, str(error))
    return Routed(row, model, numbers.cost_usd, numbers.overhead_ms)
