"""The processes of a soak: a router with its PostgreSQL, and two providers, each to be frozen and killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import Process
from contextlib import suppress
from pathlib import Path

import httpx

from benchmarks.latency import bodies
from benchmarks.latency.processes import free_port, postmaster, with_children
from benchmarks.latency.router import HERE, environment, run_command, until_ready
from service.store.connection.embedded import EmbeddedPostgres


class Site:
    """Starts, freezes, kills and ends the processes.

    The last model has a provider of its own, so that another one answers when one provider fails.

    Args:
        folder: keeps the data and the log.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._provider_ports = (free_port(), free_port())
        self._providers: list[Process] = []
        self._router: Process | None = None
        self._config = folder / "config.json"  # JSON is YAML

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def dsn(self) -> str:
        return EmbeddedPostgres(self.data_dir).dsn

    @property
    def router_pid(self) -> int:
        assert self._router is not None
        return self._router.pid

    @property
    def postgres_pids(self) -> list[int]:
        """Every process of the embedded PostgreSQL; none while it is down."""
        with suppress(OSError, IndexError, ValueError):
            return with_children([postmaster(self.data_dir)])
        return []

    async def open(self) -> None:
        urls = [f"http://127.0.0.1:{port}" for port in self._provider_ports]
        settings = bodies.settings(f"{urls[0]}/v1")
        settings["models"][-1]["base_url"] = f"{urls[1]}/v1"
        self._config.write_text(json.dumps(settings), "utf-8")
        for number in range(len(urls)):
            await self.start_provider(number)
        await self.start_router()

    async def close(self) -> None:
        await self.end_router()
        for provider in self._providers:
            await _ended(provider, signal.SIGKILL)

    async def start_router(self) -> None:
        """Start the router, and wait until it is ready."""
        variables = environment(self.folder, self._config) | {"PORT": str(self.port)}
        self._router = await self._started("service.cli", ["serve"], variables)
        async with httpx.AsyncClient(base_url=self.url) as client:
            await until_ready(client)

    async def end_router(self) -> None:
        """End the router as an operator does, with its PostgreSQL."""
        if self._router is not None:
            await _ended(self._router, signal.SIGTERM)

    async def kill_router(self) -> None:
        assert self._router is not None
        await _ended(self._router, signal.SIGKILL)

    async def start_provider(self, number: int) -> None:
        provider = await self._started(
            "benchmarks.latency.upstream", [str(self._provider_ports[number])], dict(os.environ)
        )
        self._providers[number : number + 1] = [provider]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self._provider_ports[number]}") as client:
            await until_ready(client)

    async def kill_provider(self, number: int) -> None:
        await _ended(self._providers[number], signal.SIGKILL)

    def provider_pid(self, number: int) -> int:
        return self._providers[number].pid

    async def rebuild_check(self) -> None:
        """Compare sums and memory with the log, once the router has ended.

        Raises RuntimeError if there are differences.
        """
        await run_command(self.folder, self._config, HERE, "rebuild", "--check")

    async def _started(self, module: str, arguments: list[str], variables: dict[str, str]) -> Process:
        with (self.folder / "log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-m", module, *arguments, cwd=HERE, env=variables, stdout=log, stderr=log
            )


async def frozen(pids: list[int], seconds: float) -> None:
    """Stop processes without ending them, as a machine does that swaps; then let them go on."""
    _signal(pids, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        _signal(pids, signal.SIGCONT)


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


async def _ended(process: Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(number)
    await process.wait()
