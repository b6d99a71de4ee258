"""What answering a query is in every dialect: run it, and write what comes, whole or as events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from service.api.disconnects import unless_gone
from service.api.json_response import JsonAnswer
from service.api.sse_response import EventStream
from service.completion.completion import Completed, Head, Streaming
from service.dialects import sse
from service.domain.basics import Json
from service.domain.query import Query
from service.errors import RouterError
from service.parts import Parts

KEEPALIVE_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Writer:
    """How a dialect writes answers."""

    whole: Callable[[Completed], Json]
    events: Callable[[Streaming], AsyncGenerator[bytes, None]]
    failure: Callable[[RouterError], bytes]  # the last event of a stream that has no answer to give
    ping: bytes = sse.PING


async def respond(request: Request, parts: Parts, query: Query, writer: Writer) -> Response:
    """Answer a query over HTTP; given up as soon as the caller hangs up."""
    query = await parts.tokens.counted(query, parts.catalog.arms)
    if query.stream:
        opening = asyncio.create_task(parts.completion.stream(query))
        return await _streamed(request, opening, writer, parts.settings.keepalive_after_s)
    completed = await unless_gone(request, parts.completion.complete(query))
    return JsonAnswer(writer.whole(completed), headers=headers(completed.head))


async def _streamed(
    request: Request, opening: asyncio.Task[Streaming], writer: Writer, keepalive_after_s: float
) -> Response:
    """Begin with the first content, or with a sign of life where that takes long."""
    try:
        # Not asyncio.timeout: the stream goes on opening.
        await unless_gone(request, asyncio.wait({opening}, timeout=keepalive_after_s))
    except (ClientDisconnect, asyncio.CancelledError):
        await _given_up(opening)
        raise
    if not opening.done():
        return EventStream(_opened_late(opening, writer), headers=sse.HEADERS, ping=writer.ping)
    streaming = await opening
    return EventStream(
        writer.events(streaming), headers=headers(streaming.head) | sse.HEADERS, ping=writer.ping
    )


async def _opened_late(opening: asyncio.Task[Streaming], writer: Writer) -> AsyncGenerator[bytes, None]:
    """The events of a stream whose status went out before anything was known of it.

    Comments, not the dialect's `ping`: clients expect no event before the one that begins the answer.
    """
    try:
        while not opening.done():
            yield sse.PING
            await asyncio.wait({opening}, timeout=KEEPALIVE_EVERY_S)
    except BaseException:  # the caller left
        await _given_up(opening)
        raise
    try:
        streaming = await opening
    except RouterError as error:
        yield writer.failure(error)
        return
    async with aclosing(writer.events(streaming)) as events:
        async for event in events:
            yield event


async def _given_up(opening: asyncio.Task[Streaming]) -> None:
    """Cancel it, or break off the stream where it has opened all the same; its model has been told then."""
    opening.cancel()
    await asyncio.wait({opening})
    if not opening.cancelled() and opening.exception() is None:
        await opening.result().chunks.aclose()


def headers(head: Head) -> dict[str, str]:
    """What every completion says of itself."""
    said = {
        "X-Router-Model": head.arm_id,
        "X-Router-Decision": head.kind,
        "X-Router-Decision-Id": str(head.decision_id),
    }
    if head.simulated:
        said["X-Router-Simulated"] = "true"
    if head.degraded:
        said["X-Router-Degraded"] = ", ".join(head.degraded)
    return said
