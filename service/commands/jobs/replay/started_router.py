"""A router in a process of its own, started for one replay."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import yaml

from service.domain.basics import Json
from service.errors import StartupError

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 30.0
POLL_EVERY_S = 0.1


@asynccontextmanager
async def started_router(settings: Json) -> AsyncIterator[str]:
    """A router in a process of its own that keeps nothing; yields its address once it is ready."""
    with tempfile.TemporaryDirectory(prefix="llm-router-replay-") as folder:
        config = _written(Path(folder, "config.yaml"), settings)
        port = _free_port()
        environ = {
            **os.environ,
            "CONFIG_FILE": str(config),
            "ENABLE_PERSISTENCE": "false",
            "HOST": "127.0.0.1",
            "LOG_LEVEL": "warning",
            "PORT": str(port),
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "service.cli", "serve", env=environ, stdout=asyncio.subprocess.DEVNULL
        )
        try:
            url = f"http://127.0.0.1:{port}"
            await _until_ready(url, process)
            yield url
        finally:
            await _stop(process)


def _written(config: Path, settings: Json) -> Path:
    config.write_text(yaml.safe_dump(settings), "utf-8")
    return config


async def _until_ready(url: str, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(START_TIMEOUT_S), httpx.AsyncClient() as client:
        while True:
            if process.returncode is not None:
                raise StartupError(f"the router ended with exit code {process.returncode}; see above")
            with suppress(httpx.TransportError):
                if (await client.get(f"{url}/ready")).status_code == 200:
                    return
            await asyncio.sleep(POLL_EVERY_S)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
