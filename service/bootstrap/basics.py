"""What all of the bootstrap uses: progress, the end of a task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

Progress = Callable[[str], None]


def no_progress(message: str) -> None:
    """Report no progress."""


async def cancel(task: asyncio.Task[Any]) -> None:
    """End a task, and wait for its end."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
