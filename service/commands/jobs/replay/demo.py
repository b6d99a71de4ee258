"""A whole replay of a file: the recorded upstream, a router, and the stream of requests."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

from service.commands.jobs.replay.outcomes import read_outcomes
from service.commands.jobs.replay.report import Report
from service.commands.jobs.replay.started_router import started_router
from service.commands.jobs.replay.stream import Progress, replay
from service.commands.jobs.replay.tariff import router_settings
from service.commands.jobs.replay.upstream import RecordedUpstream
from service.domain.basics import Json

DEMO_FILE = Path(__file__).with_name("demo.parquet")
StartRouter = Callable[[Json], AbstractAsyncContextManager[str]]


async def replay_file(
    file: Path = DEMO_FILE,
    *,
    url: str | None = None,
    start_router: StartRouter = started_router,
    rows: int | None = None,
    concurrency: int = 4,
    seed: int | None = None,
    out_dir: Path | None = None,
    progress: Progress | None = None,
) -> Report:
    """Replay a file against the router at `url`, or against one that is started for it and stopped after it.

    Args:
        file: the record.
        url: of a router whose arms are the recorded models; None: start one.
        start_router: takes settings (`models` and all values that differ from the defaults) and serves
            a router at the URL that it yields, while entered.
        rows, concurrency, seed, out_dir, progress: as in `replay`.
    """
    outcomes = read_outcomes(file)
    async with AsyncExitStack() as started:
        if url is None:
            upstream = await started.enter_async_context(RecordedUpstream(outcomes))
            settings = router_settings(outcomes, upstream.base_url)
            url = await started.enter_async_context(start_router(settings))
        return await replay(
            outcomes,
            url=url,
            rows=rows,
            concurrency=concurrency,
            seed=seed,
            out_dir=out_dir,
            progress=progress,
        )
