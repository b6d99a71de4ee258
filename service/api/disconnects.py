"""The caller may hang up while we work for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import Receive

T = TypeVar("T")


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Do the work, but cancel it as soon as the caller hangs up.

    Raises:
        ClientDisconnect: the caller is gone; nobody will read the answer.
    """
    working = asyncio.create_task(work)
    watching = asyncio.create_task(gone(request.receive))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return await working
        raise ClientDisconnect
    finally:
        watching.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait({working})


async def gone(receive: Receive) -> None:
    """Wait until the caller hangs up; the body was read before, so nothing else can come."""
    while (await receive())["type"] != "http.disconnect":
        pass
