"""A router in a process of its own, on its own core, from this checkout or from another one."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx

from benchmarks.latency.processes import free_port, on_core

START_TIMEOUT_S = 60.0
HERE = Path(__file__).parents[2]


@asynccontextmanager
async def started_router(
    folder: Path,
    config: Path,
    *,
    profile: bool = False,
    checkout: Path = HERE,
    core: int | None = None,
    environ: Mapping[str, str] | None = None,
    arguments: tuple[str, ...] = (),
) -> AsyncIterator[tuple[int, httpx.AsyncClient]]:
    """Run a router; yield its pid and an HTTP client.

    Args:
        folder: keeps its data, its log and its profile.
        checkout: the folder whose `service` runs.
        core: the core for it and its PostgreSQL; None: any.
        environ: more settings.
        arguments: of `router serve`.
    """
    port = free_port()
    variables = environment(folder, config, checkout) | {"PORT": str(port)} | dict(environ or {})
    profiler = ["-m", "cProfile", "-o", str(folder / "profile")] if profile else []
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *profiler,
            "-m",
            "service.cli",
            "serve",
            *arguments,
            cwd=checkout,
            env=variables,
            stdout=log,
            stderr=log,
            preexec_fn=on_core(core),
        )
    try:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", limits=limits, timeout=60.0
        ) as client:
            await until_ready(client)
            yield process.pid, client
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        await process.wait()


def environment(folder: Path, config: Path, checkout: Path = HERE) -> dict[str, str]:
    """The environment of a `router` command on the data of a folder."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(checkout),
        "CONFIG_FILE": str(config),
        "DATA_DIR": str(folder / "data"),
        "LOG_LEVEL": "info",
    }


async def run_command(folder: Path, config: Path, checkout: Path, *arguments: str) -> None:
    """Run another `router` command on the same data."""
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "service.cli",
            *arguments,
            cwd=checkout,
            env=environment(folder, config, checkout),
            stdout=log,
            stderr=log,
        )
    if await process.wait() != 0:
        raise RuntimeError(f"router {arguments[0]} failed:\n{(folder / 'log').read_text()[-2000:]}")


async def until_ready(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(START_TIMEOUT_S):
        while True:
            with suppress(httpx.TransportError):
                if (await client.get("/ready")).status_code == 200:
                    return
            await asyncio.sleep(0.05)
