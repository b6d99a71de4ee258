"""Reads big bodies in a thread, one at a time, so that other requests go on meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from service.parts import Parts

BIG_BODY_BYTES = 2**17  # a smaller body is read in about the time that a thread takes to start

T = TypeVar("T")


async def read(parts: Parts, body: bytes, reader: Callable[[bytes], T]) -> T:
    """What `reader` makes of the body."""
    if len(body) < BIG_BODY_BYTES:
        return reader(body)
    async with parts.big_bodies:
        return await asyncio.to_thread(reader, body)
