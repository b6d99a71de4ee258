"""An hour of steady load on a router, with a fault every minute.

    .venv/bin/python -m benchmarks.soak [--minutes 60] [--rate 20] [--fault-every 60]

PostgreSQL, providers and the router itself are frozen and killed, clients hang up, a hostile body is sent.
From about half of the time on the router is left alive, and what it uses is measured: memory, descriptors,
tasks, queues, tables. At the end everything that was acknowledged must be in PostgreSQL, sums and memory must
be those of a rebuild, queues must be empty, and memory, descriptors and tasks must not have grown: else it
exits with 1.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from benchmarks.soak.faults import OF_THE_ROUTER, Fault, faults_in_turn
from benchmarks.soak.kept import lost
from benchmarks.soak.load import Acknowledged, SteadyLoad
from benchmarks.soak.samples import Sample, Sampler, Slope, slopes
from benchmarks.soak.site import Site

WARM_AFTER_S = 20.0
SETTLING_S = 60.0  # longest, until the queues are empty
# By how much a figure may grow while the router is left alive. In the first hour caches fill: 10,000 vectors,
# 16 MB of questions, the memory's points.
ALLOWED_GROWTH = {"rss_mb": 80.0, "descriptors": 30.0, "tasks": 30.0}
MAX_SHOWN = 10


async def main(options: argparse.Namespace) -> int:
    seconds = options.minutes * 60.0
    faults = faults_in_turn(max(int(seconds / options.fault_every) - 1, 1))
    with tempfile.TemporaryDirectory(prefix="router-soak-") as folder:
        site = Site(Path(folder))
        try:
            await site.open()
            load = SteadyLoad(site.url, options.rate, np.random.default_rng(options.seed))
            sampler = Sampler(site)
            sampling = asyncio.create_task(sampler.run())
            breaking = asyncio.create_task(_break(site, faults, options.fault_every, sampler))
            await load.run(seconds)
            alone_since_s = await breaking
            await _settled(sampler)
            sampling.cancel()
            problems = await lost(site.dsn, load.acknowledged)
        finally:
            await site.close()
        problems += await _differences(site)
    grown = slopes([sample for sample in sampler.samples if sample.at_s > alone_since_s])
    problems += [*_unsettled(sampler.samples[-1]), *_growing(grown)]
    _print(load.n_sent, load.acknowledged, grown, problems)
    return 1 if problems else 0


async def _break(site: Site, faults: Sequence[Fault], every_s: float, sampler: Sampler) -> float:
    """Break things in turn; return since when the router has been alive, with caches that are warm again."""
    alone_since_s = 0.0
    for number, fault in enumerate(faults, 1):
        await asyncio.sleep(number * every_s - sampler.now_s)
        print(f"{sampler.now_s:6.0f} s  {fault.__name__.replace('_', ' ')}", flush=True)
        await fault(site)
        if fault in OF_THE_ROUTER:
            alone_since_s = sampler.now_s + WARM_AFTER_S
    return alone_since_s


async def _settled(sampler: Sampler) -> None:
    """Wait until a sample shows empty queues, or give up."""
    with suppress(TimeoutError):
        async with asyncio.timeout(SETTLING_S):
            while _unsettled(await sampler.next()):
                pass


def _unsettled(sample: Sample) -> list[str]:
    waiting = {"spooled": sample.spooled, "to remember": sample.to_remember}
    return [f"{n} {name} at the end" for name, n in waiting.items() if n]


async def _differences(site: Site) -> list[str]:
    try:
        await site.rebuild_check()
    except RuntimeError as error:
        return [str(error)]
    return []


def _growing(grown: Sequence[Slope]) -> list[str]:
    return [
        f"{slope.name} grew by {slope.growth:.1f}, allowed are {allowed}"
        for slope in grown
        if slope.growth > (allowed := ALLOWED_GROWTH.get(slope.name, np.inf))
    ]


def _print(n_sent: int, told: Acknowledged, grown: Sequence[Slope], problems: Sequence[str]) -> None:
    print(f"\n{n_sent} requests; acknowledged: {len(told.answers)} answers, {len(told.scores)} ratings")
    print(f"refused, by status (0: the connection broke): {dict(sorted(told.refused.items()))}")
    print("\nleft alive       early      late   an hour")
    for slope in grown:
        print(f"{slope.name:12} {slope.early:9.1f} {slope.late:9.1f} {slope.an_hour:9.1f}")
    print()
    for problem in problems[:MAX_SHOWN]:
        print(f"FAILED: {problem}")
    if not problems:
        print("nothing that was acknowledged is lost; sums and memory are those of a rebuild")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="length of the load")
    parser.add_argument("--rate", type=float, default=20.0, help="requests a second")
    parser.add_argument("--fault-every", type=float, default=60.0, metavar="S", help="seconds between faults")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(_options())))
