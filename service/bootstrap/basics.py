"""What all of the bootstrap uses: progress, the end of a task, the proxy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from service.domain.proxies import Proxies
from service.errors import StartupError

Progress = Callable[[str], None]


def no_progress(message: str) -> None:
    """Report no progress."""


async def cancel(task: asyncio.Task[Any]) -> None:
    """End a task, and wait for its end."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def proxy_for(url: str | None, environ: Mapping[str, str]) -> str | None:
    """The proxy to a dependency. Raises StartupError."""
    try:
        return Proxies.of(environ).proxy_for(url or "")
    except ValueError as error:
        raise StartupError(str(error)) from error
