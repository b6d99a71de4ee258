"""What the router adds to a request, beside an upstream that answers at once.

    .venv/bin/python -m benchmarks.latency [--quick] [--rows pinned feedback] [--checkout FOLDER]

One command starts the upstream, a bare pass-through of FastAPI and aiohttp, and a router with 1,000 rated
outcomes, each for itself, and sends requests to them. Clients and upstream have one core; what is measured,
with its PostgreSQL, has the other one. Latency is that of one client; requests/s, CPU and bytes are those of
32 clients (wrk, if it is installed). CPU counts Python and every process of PostgreSQL.

Other routers are measured in the same run with `--peer NAME URL MODEL PID`: start them before, on the core of
the gateway, with `http://127.0.0.1:9100/v1` as their upstream.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import pstats
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import cycle
from pathlib import Path

import httpx
import numpy as np

from benchmarks.latency import bodies
from benchmarks.latency.learned import teach, until_remembered
from benchmarks.latency.load import Requests
from benchmarks.latency.processes import free_port, on_core, postmaster
from benchmarks.latency.report import DIRECT, FOLDER, save, table
from benchmarks.latency.router import HERE, started_router, until_ready
from benchmarks.latency.rows import Lengths, Row, Server, answers_to_rate, measure, warm_up
from service.store.connection.embedded import EmbeddedPostgres

UPSTREAM_PORT = 9100  # that peers are configured with
N_TAUGHT = 1_000
QUICK, THOROUGH = Lengths(alone_s=1, crowd_s=2), Lengths(alone_s=5, crowd_s=10)
NAMES = (
    "pinned, seen",
    "pinned, new",
    "routed, seen",
    "routed, new, 20 tokens",
    "routed, new, 200 tokens",
    "feedback",
    "stream",
)


async def main(options: argparse.Namespace) -> None:
    load_core, gateway_core = _cores()
    if load_core is not None:
        os.sched_setaffinity(0, {load_core})
    lengths = QUICK if options.quick else THOROUGH
    rows: list[Row] = []
    upstream_port = UPSTREAM_PORT if options.peer else free_port()
    upstream_url = f"http://127.0.0.1:{upstream_port}"
    async with _started("benchmarks.latency.upstream", [str(upstream_port)], load_core, upstream_url):
        await _measure_plain(rows, DIRECT, Server(upstream_url), lengths)
        floor_url = f"http://127.0.0.1:{free_port()}"
        arguments = [floor_url.rpartition(":")[2], f"{upstream_url}/v1"]
        async with _started("benchmarks.latency.floor", arguments, gateway_core, floor_url) as pid:
            await _measure_plain(rows, "floor", Server(floor_url, (pid,)), lengths)
        for name, url, model, pid in options.peer:
            await _measure_plain(rows, name, Server(url, (int(pid),)), lengths, model)
        with tempfile.TemporaryDirectory(prefix="router-latency-") as folder:
            await _measure_router(rows, Path(folder), f"{upstream_url}/v1", gateway_core, lengths, options)
    print(table(rows))
    save(rows, options.json, command=sys.argv[1:], checkout=str(options.checkout))


async def _measure_plain(
    rows: list[Row], name: str, server: Server, lengths: Lengths, model: str = "small"
) -> None:
    """An answer in one piece, and a stream, of something that weighs nothing."""
    texts = bodies.Texts(np.random.default_rng(7))
    prompt = texts.prompt(20)
    for kind, stream in (("chat", False), ("stream", True)):
        body = bodies.chat(prompt, model, stream=stream)
        requests = Requests(f"{name}-{kind}", bodies.CHAT, cycle([body]))
        rows.append(await measure(kind, server, name, requests, lengths))


async def _measure_router(
    rows: list[Row],
    folder: Path,
    upstream_url: str,
    core: int | None,
    lengths: Lengths,
    options: argparse.Namespace,
) -> None:
    checkout: Path = options.checkout
    config = await teach(folder, upstream_url, checkout, options.points, options.arms)
    profile = options.profile and shutil.which("py-spy") is None
    async with started_router(folder, config, profile=profile, checkout=checkout, core=core) as (pid, client):
        data_dir = folder / "data"
        url = str(client.base_url).rstrip("/")
        server = Server(url, (pid,), postmaster(data_dir), EmbeddedPostgres(data_dir).dsn)
        await until_remembered(client)
        for name in ("pinned, seen", "routed, seen"):
            await warm_up(server, _requests(name), lengths.alone_s)
        for name in NAMES:
            if options.rows and not any(wanted in name for wanted in options.rows):
                continue
            requests = await _ratings(server, lengths) if name == "feedback" else _requests(name)
            async with _spied(pid, name, options.profile):
                rows.append(await measure(name, server, options.name, requests, lengths))
        print(await _loop_lag(client))
        await _report_failures(client, rows, folder)
    if profile:
        stats = pstats.Stats(str(folder / "profile"))
        stats.sort_stats("tottime").print_stats(25)
        stats.sort_stats("cumtime").print_stats(r"/(service|bandit|embeddings)/", 40)


def _requests(name: str) -> Requests:
    """The requests of a row that asks for answers."""
    texts = bodies.Texts(np.random.default_rng(NAMES.index(name) + 10))
    seen = cycle([texts.prompt(20) for _ in range(bodies.N_SEEN)])
    new, long = texts.prompts(18), texts.prompts(180)
    sent: Iterator[bytes]
    match name:
        case "pinned, seen":
            sent = (bodies.chat(prompt, "medium") for prompt in seen)
        case "pinned, new":
            sent = (bodies.chat(prompt, "medium") for prompt in new)
        case "routed, seen":
            sent = (bodies.chat(prompt) for prompt in seen)
        case "routed, new, 20 tokens":
            sent = (bodies.chat(prompt) for prompt in new)
        case "routed, new, 200 tokens":
            sent = (bodies.chat(prompt) for prompt in long)
        case _:
            sent = (bodies.chat(prompt, "medium", stream=True) for prompt in seen)
    return Requests(name.replace(",", "").replace(" ", "-"), bodies.CHAT, sent)


async def _ratings(server: Server, lengths: Lengths) -> Requests:
    """A score for each of many answers, and then others for the same answers."""
    asked = _requests("routed, new, 20 tokens")
    answered = await answers_to_rate(server, asked, lengths.alone_s + lengths.crowd_s)
    scores = cycle([0.0, 0.25, 0.5, 0.75, 1.0, 0.6, 0.4])
    sent = (bodies.feedback(request_id, next(scores)) for request_id in cycle(answered))
    return Requests("feedback", "/feedback", sent)


async def _loop_lag(client: httpx.AsyncClient) -> str:
    """How late the router's loop was, over all rows; a checkout of before does not say."""
    text = (await client.get("/metrics")).text
    found = {
        name: float(value) for name, value in re.findall(r"^(router_loop_lag_\S+) (\S+)$", text, re.MULTILINE)
    }
    if not found.get("router_loop_lag_seconds_count"):
        return "loop lag: not measured"
    share = found['router_loop_lag_seconds_bucket{le="0.005"}'] / found["router_loop_lag_seconds_count"]
    longest_ms = found["router_loop_lag_longest_seconds"] * 1e3
    return f"loop lag: {share:.1%} within 5 ms; longest of late {longest_ms:.0f} ms"


async def _report_failures(client: httpx.AsyncClient, rows: list[Row], folder: Path) -> None:
    """A figure of refused requests is none, so say why they were refused."""
    if any(row.n_failed for row in rows):
        print(f"/health: {(await client.get('/health')).text[:500]}")
        print((folder / "log").read_text()[-1500:])


@asynccontextmanager
async def _spied(pid: int, name: str, profile: bool) -> AsyncIterator[None]:
    """Record where the time goes with py-spy, if it is installed."""
    if not (profile and shutil.which("py-spy")):
        yield
        return
    path = FOLDER / f"latency-{name.replace(',', '').replace(' ', '-')}.svg"
    path.parent.mkdir(parents=True, exist_ok=True)
    spy = await asyncio.create_subprocess_exec("py-spy", "record", "-p", str(pid), "-o", str(path))
    try:
        yield
    finally:
        spy.send_signal(signal.SIGINT)
        await spy.wait()


@asynccontextmanager
async def _started(module: str, arguments: list[str], core: int | None, url: str) -> AsyncIterator[int]:
    """Run a module of this benchmark in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, cwd=HERE, preexec_fn=on_core(core)
    )
    try:
        async with httpx.AsyncClient(base_url=url) as client:
            await until_ready(client)
        yield process.pid
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await process.wait()


def _cores() -> tuple[int | None, int | None]:
    """The core of clients and upstream, and that of what is measured; None on a machine with one core."""
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[1]) if len(cores) > 1 else (None, None)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="about a minute, for everyday comparisons")
    parser.add_argument("--rows", nargs="+", default=[], help="only rows whose name contains one of these")
    parser.add_argument("--checkout", type=Path, default=HERE, help="folder whose `service` is measured")
    parser.add_argument("--name", default="router", help="name of the measured router in the table")
    parser.add_argument("--points", type=int, default=N_TAUGHT, help="rated outcomes taught before")
    parser.add_argument("--arms", type=int, default=len(bodies.ARMS), help="models of the router")
    parser.add_argument(
        "--peer", nargs=4, action="append", default=[], metavar=("NAME", "URL", "MODEL", "PID")
    )
    parser.add_argument(
        "--json", type=Path, default=FOLDER / "latency.json", help="where figures are written"
    )
    parser.add_argument("--profile", action="store_true", help="with py-spy (a chart a row) or cProfile")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(_options()))
