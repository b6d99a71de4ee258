"""A whole replay without anything else running: recorded upstream, router, stream."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from service.domain.basics import Json
from service.replay.outcomes import read_outcomes
from service.replay.report import Report
from service.replay.stream import Progress, replay
from service.replay.tariff import router_settings
from service.replay.upstream import RecordedUpstream

DEMO_FILE = Path(__file__).with_name("demo.parquet")
StartRouter = Callable[[Json], AbstractAsyncContextManager[str]]


async def run_demo(
    start_router: StartRouter,
    *,
    file: Path = DEMO_FILE,
    rows: int | None = None,
    concurrency: int = 4,
    seed: int | None = None,
    out_dir: Path | None = None,
    progress: Progress | None = None,
) -> Report:
    """Replay a file from nothing, and end everything that was started for it.

    Args:
        start_router: takes settings (`models` and what else differs from the defaults) and serves
            a router under the URL it yields, while entered.
        file: the record.
        rows, concurrency, seed, out_dir, progress: as in `replay`.
    """
    outcomes = read_outcomes(file)
    async with (
        RecordedUpstream(outcomes) as upstream,
        start_router(router_settings(outcomes, upstream.base_url)) as url,
    ):
        return await replay(
            outcomes,
            url=url,
            rows=rows,
            concurrency=concurrency,
            seed=seed,
            out_dir=out_dir,
            progress=progress,
        )
