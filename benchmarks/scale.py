"""How the cost of a decision, and the requests of a machine, grow: slopes, not points.

    .venv/bin/python -m benchmarks.scale [--memories 1000 10000 100000] [--arms 1 3 10 30 100]
        [--qdrant-url http://127.0.0.1:6334] [--workers 1 2 4] [--replicas 2] [--seconds 5]

Up to 100,000 memories are in this process, and more on a Qdrant server.
Workers and replicas need that server too, because they share the memory. They run unpinned beside their
clients, their upstream and their PostgreSQL: give them the cores of the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path

import httpx
import numpy as np

from benchmarks.charts import draw_slopes
from benchmarks.decision import decision_cpu
from benchmarks.latency import bodies
from benchmarks.latency.load import Load, Requests, drive, drive_wrk, has_wrk
from benchmarks.latency.processes import free_port, postmaster, precise_cpu_s
from benchmarks.latency.router import HERE, started_router, until_ready
from service.store.connection.embedded import EmbeddedPostgres

RESULTS = Path("benchmarks/results")
MOST_IN_PROCESS = 100_000
N_CLIENTS = 32  # per process


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement.

    Args:
        series: what grows.
        size: how many of it there are.
        cpu_ms: of one decision, or of one request with its PostgreSQL.
        per_s: requests; None: not measured.
    """

    series: str
    size: int
    cpu_ms: float
    per_s: float | None = None


def main(options: argparse.Namespace) -> None:
    points = list[Point]()
    for n_memories in options.memories:
        points.append(_decision("memories", n_memories, n_memories, 3, options.qdrant_url))
        print(_line(points[-1]), flush=True)
    for n_arms in options.arms:
        points.append(_decision("arms", n_arms, 10_000, n_arms, None))
        print(_line(points[-1]), flush=True)
    if options.qdrant_url is None and (options.workers or options.replicas):
        print("workers and replicas share a memory: give --qdrant-url to measure them")
    elif options.workers or options.replicas:
        for point in asyncio.run(_processes(options)):
            points.append(point)
            print(_line(point), flush=True)
    for line in slopes(points):
        print(line)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "scale.json").write_text(json.dumps([asdict(point) for point in points], indent=1), "utf-8")
    series = dict.fromkeys(point.series for point in points)
    draw_slopes(
        {name: [(p.size, p.cpu_ms) for p in points if p.series == name] for name in series},
        RESULTS / "scale.png",
    )


def slopes(points: Sequence[Point]) -> list[str]:
    """How each series grows: its exponent (cost ~ size^b), or the requests beside those of one."""
    lines = []
    for name in dict.fromkeys(point.series for point in points):
        of_name = [point for point in points if point.series == name]
        if len(of_name) < 2:
            continue
        first, last = of_name[0], of_name[-1]
        if first.per_s is not None:
            gains = ", ".join(f"{p.size}: {(p.per_s or 0) / first.per_s:.2f} x" for p in of_name[1:])
            lines.append(f"{name}: requests/s beside {first.size}: {gains}")
            continue
        sizes, costs = np.log([p.size for p in of_name]), np.log([p.cpu_ms for p in of_name])
        exponent = np.polyfit(sizes, costs, 1)[0]
        factor = last.size / first.size
        lines.append(
            f"{name}: x {factor:,.0f} costs x {last.cpu_ms / first.cpu_ms:.2f}, so cost ~ size^{exponent:.2f}"
        )
    return lines


def _decision(series: str, size: int, n_memories: int, n_arms: int, qdrant_url: str | None) -> Point:
    on_server = qdrant_url if n_memories > MOST_IN_PROCESS else None
    if n_memories > MOST_IN_PROCESS and on_server is None:
        raise SystemExit(f"{n_memories:,} memories need --qdrant-url")
    measured = decision_cpu(200, n_memories, n_arms, qdrant_url=on_server)
    return Point(series, size, next(iter(measured.values())))


async def _processes(options: argparse.Namespace) -> list[Point]:
    """Requests per second of some workers, and of some replicas on one PostgreSQL."""
    points = list[Point]()
    upstream_url = f"http://127.0.0.1:{free_port()}"
    async with _upstream(upstream_url):
        for n_workers in options.workers:
            points.append(await _measured("workers", n_workers, 1, n_workers, upstream_url, options))
        for n_replicas in range(1, options.replicas + 1):
            points.append(await _measured("replicas", n_replicas, n_replicas, 1, upstream_url, options))
    return points


async def _measured(
    series: str, size: int, n_replicas: int, n_workers: int, upstream_url: str, options: argparse.Namespace
) -> Point:
    with tempfile.TemporaryDirectory(prefix="router-scale-") as name:
        folder = Path(name)
        config = folder / "config.json"
        config.write_text(json.dumps(bodies.settings(f"{upstream_url}/v1")), "utf-8")
        postgres = EmbeddedPostgres(folder / "shared")
        shared = {"DATABASE_URL": postgres.start(), "QDRANT_URL": options.qdrant_url}
        try:
            async with AsyncExitStack() as stack:
                routers = [
                    await stack.enter_async_context(
                        started_router(
                            _folder(folder, number),
                            config,
                            environ=shared,
                            arguments=("--workers", str(n_workers)),
                        )
                    )
                    for number in range(n_replicas)
                ]
                pids = [pid for pid, _ in routers] + [postmaster(folder / "shared")]
                urls = [str(client.base_url).rstrip("/") for _, client in routers]
                await _drive(urls, size, 1)  # warm
                used_s = precise_cpu_s(pids)
                loads = await _drive(urls, size, options.seconds)
                used_s = precise_cpu_s(pids) - used_s
        finally:
            postgres.stop()
    n = sum(load.n for load in loads)
    return Point(series, size, used_s / n * 1e3, sum(load.n / load.took_s for load in loads))


async def _drive(urls: Sequence[str], n_processes: int, seconds: int) -> list[Load]:
    """Load all replicas at once."""
    n_clients = N_CLIENTS * n_processes // len(urls)
    texts = bodies.Texts(np.random.default_rng(3))
    seen = [bodies.chat(texts.prompt(20)) for _ in range(bodies.N_SEEN)]
    sent = [Requests(f"{os.getpid()}-{seconds}-{n}", bodies.CHAT, cycle(seen)) for n in range(len(urls))]
    if has_wrk():
        each = [
            drive_wrk(url, requests, n_clients, seconds, 1_000)
            for url, requests in zip(urls, sent, strict=True)
        ]
    else:
        each = [drive(url, requests, n_clients, seconds) for url, requests in zip(urls, sent, strict=True)]
    return list(await asyncio.gather(*each))


@asynccontextmanager
async def _upstream(url: str) -> AsyncIterator[None]:
    port = url.rpartition(":")[2]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.latency.upstream", port, cwd=HERE
    )
    try:
        async with httpx.AsyncClient(base_url=url) as client:
            await until_ready(client)
        yield
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await process.wait()


def _folder(parent: Path, number: int) -> Path:
    folder = parent / f"replica-{number}"
    folder.mkdir()
    return folder


def _line(point: Point) -> str:
    per_s = "" if point.per_s is None else f"  {point.per_s:8,.0f} requests/s"
    return f"{point.size:>10,} {point.series:10} {point.cpu_ms:8.2f} ms of CPU{per_s}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--memories", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--arms", type=int, nargs="*", default=[1, 3, 10, 30, 100])
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--replicas", type=int, default=2, help="measured from one to so many; 0: none")
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement of processes")
    parser.add_argument("--qdrant-url", help="a Qdrant server, by its gRPC port")
    main(parser.parse_args())
