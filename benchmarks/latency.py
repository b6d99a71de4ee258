"""Latency and CPU that the router adds to a request, with an upstream that answers at once.

    .venv/bin/python -m benchmarks.latency [--requests 300] [--concurrency 1 8 32] [--profile]

The benchmark starts the recorded upstream in this process and a router in another, and sends short prompts.
The router itself measures its added latency for every request: `router_overhead_seconds` without the wait for
the upstream. A client on the same machine measures the round trip. With `--profile` the router runs under
cProfile, and the most expensive functions are printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pstats
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from service.commands.jobs.replay.demo import DEMO_FILE
from service.commands.jobs.replay.outcomes import read_outcomes
from service.commands.jobs.replay.tariff import router_settings
from service.commands.jobs.replay.upstream import RecordedUpstream
from service.domain.basics import Json

N_WARM_UP = 50
N_NEIGHBOURS_TAUGHT = 100
START_TIMEOUT_S = 60.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Timing:
    """The figures of one level of concurrency, in seconds."""

    concurrency: int
    round_trips_s: list[float]
    overheads_s: list[float]
    cpu_s: float
    took_s: float

    def line(self) -> str:
        round_trip, overhead = (
            np.percentile(np.array(values) * 1e3, [50, 95, 99])
            for values in (self.round_trips_s, self.overheads_s)
        )
        n = len(self.round_trips_s)
        return (
            f"{self.concurrency:>11}  {overhead[0]:8.1f} {overhead[1]:6.1f} {overhead[2]:6.1f}"
            f"  {round_trip[0]:8.1f} {round_trip[1]:6.1f} {round_trip[2]:6.1f}"
            f"  {self.cpu_s / n * 1e3:8.1f}  {n / self.took_s:10.0f}"
        )


HEADER = """\
             added latency, ms       round trip, ms            CPU
concurrency       p50    p95    p99       p50    p95    p99  ms/request  requests/s"""


async def main(requests: int, concurrencies: list[int], *, profile: bool) -> None:
    outcomes = read_outcomes(DEMO_FILE)
    with tempfile.TemporaryDirectory(prefix="router-latency-") as folder:
        async with RecordedUpstream(outcomes) as upstream:
            config = _config(Path(folder), router_settings(outcomes, upstream.base_url))
            async with started_router(Path(folder), config, profile=profile) as (pid, client):
                prompts = sorted(outcomes.prompts, key=len)
                await _teach(client, prompts[:N_NEIGHBOURS_TAUGHT])
                await _drive(client, pid, "warm-up", prompts, N_WARM_UP, 8)
                print(HEADER)
                for concurrency in concurrencies:
                    name = f"c{concurrency}"
                    print((await _drive(client, pid, name, prompts, requests, concurrency)).line())
        if profile:
            stats = pstats.Stats(str(Path(folder, "profile")))
            stats.sort_stats("tottime").print_stats(25)
            stats.sort_stats("cumtime").print_stats(r"/(service|bandit|embeddings)/", 40)


def _config(folder: Path, settings: Json) -> Path:
    path = folder / "config.json"  # JSON is YAML
    path.write_text(json.dumps(settings), "utf-8")
    return path


@asynccontextmanager
async def started_router(
    folder: Path, config: Path, *, profile: bool = False
) -> AsyncIterator[tuple[int, httpx.AsyncClient]]:
    """Run a router in a process of its own; yield its pid and an HTTP client."""
    port = _free_port()
    environ = {
        "PATH": os.environ["PATH"],
        "CONFIG_FILE": str(config),
        "DATA_DIR": str(folder / "data"),
        "PORT": str(port),
        "LOG_LEVEL": "info",
    }
    profiler = ["-m", "cProfile", "-o", str(folder / "profile")] if profile else []
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *profiler, "-m", "service.cli", "serve", env=environ, stdout=log, stderr=log
        )
    try:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", limits=limits, timeout=60.0
        ) as client:
            await _until_ready(client)
            yield process.pid, client
    finally:
        process.send_signal(signal.SIGINT)
        await process.wait()


async def _until_ready(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(START_TIMEOUT_S):
        while True:
            with suppress(httpx.TransportError):
                if (await client.get("/ready")).status_code == 200:
                    return
            await asyncio.sleep(0.1)


async def _teach(client: httpx.AsyncClient, prompts: list[str]) -> None:
    """Give the router neighbours to recall and evidence to weigh."""
    for number, prompt in enumerate(prompts):
        await _ask(client, f"taught-{number}", prompt)
        body = {"request_id": f"taught-{number}", "score": number % 5 / 4}
        (await client.post("/feedback", json=body)).raise_for_status()


async def _drive(
    client: httpx.AsyncClient, pid: int, name: str, prompts: list[str], n: int, concurrency: int
) -> Timing:
    numbers = iter(range(n))
    round_trips_s: list[float] = []

    async def call() -> None:
        for number in numbers:
            # Every text is new, so that the cache of contexts has none of them.
            prompt = f"{prompts[number % 100]} ({name}, {number})"
            round_trips_s.append(await _ask(client, f"{name}-{number}", prompt))

    used_s, start = cpu_s(pid), time.perf_counter()
    await asyncio.gather(*(call() for _ in range(concurrency)))
    took_s, used_s = time.perf_counter() - start, cpu_s(pid) - used_s
    overheads_s = [await _overhead_s(client, f"{name}-{number}") for number in range(n)]
    return Timing(concurrency, round_trips_s, overheads_s, used_s, took_s)


async def _ask(client: httpx.AsyncClient, request_id: str, prompt: str) -> float:
    """Request one completion; return its seconds."""
    start = time.perf_counter()
    body = {"messages": [{"role": "user", "content": prompt}]}
    answer = await client.post("/chat/completions", json=body, headers={"X-Request-ID": request_id})
    took_s = time.perf_counter() - start
    answer.raise_for_status()
    return took_s


async def _overhead_s(client: httpx.AsyncClient, request_id: str) -> float:
    """The router's own time for one request, without its calls of models."""
    record = (await client.get(f"/requests/{request_id}")).raise_for_status().json()
    return float(record["outcome"]["overhead_s"])


def cpu_s(pid: int) -> float:
    """CPU seconds of all threads of a process so far (the embedded PostgreSQL is another process)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--requests", type=int, default=300, help="at each concurrency")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument(
        "--profile", action="store_true", help="print the most expensive functions; slows everything down"
    )
    options = parser.parse_args()
    asyncio.run(main(options.requests, options.concurrency, profile=options.profile))
