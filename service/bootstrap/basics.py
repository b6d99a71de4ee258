"""What all of the bootstrap uses: the clock, progress, the end of a task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

Progress = Callable[[str], None]


def no_progress(message: str) -> None:
    """Report no progress."""


def now() -> datetime:
    return datetime.now(UTC)


async def cancel(task: asyncio.Task[Any]) -> None:
    """End a task, and wait for its end."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
