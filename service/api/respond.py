"""Answers a query over HTTP in any dialect, whole or as a stream of events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from service.api.disconnects import unless_disconnected
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
    failure: Callable[[RouterError], bytes]  # the last event of a stream that fails
    ping: bytes = sse.PING


async def respond(request: Request, parts: Parts, query: Query, writer: Writer) -> Response:
    """Answer a query over HTTP; cancel the work as soon as the client disconnects."""
    query = await parts.tokens.counted(query, parts.catalog.arms)
    query = query.observed(partial(_rename, request))
    if query.stream:
        pending_stream = asyncio.create_task(parts.completion.stream(query))
        return await _streamed(request, pending_stream, writer, parts.settings.keepalive_after_s)
    completed = await unless_disconnected(request, parts.completion.complete(query))
    return JsonAnswer(writer.whole(completed), headers=headers(completed.head))


def _rename(request: Request, request_id: str) -> None:
    """Give the response, be it an answer or an error, the id of the decision, by which feedback names it."""
    request.state.reused_request_id = request.state.request_id
    request.state.request_id = request_id


async def _streamed(
    request: Request, pending_stream: asyncio.Task[Streaming], writer: Writer, keepalive_after_s: float
) -> Response:
    """Start the response with the first content, or with keep-alive comments if that takes too long."""
    try:
        # asyncio.timeout would cancel the stream.
        await unless_disconnected(request, asyncio.wait({pending_stream}, timeout=keepalive_after_s))
    except (ClientDisconnect, asyncio.CancelledError):
        await _abandon(pending_stream)
        raise
    if not pending_stream.done():
        return EventStream(
            _events_with_keepalive(pending_stream, writer), headers=sse.HEADERS, ping=writer.ping
        )
    streaming = await pending_stream
    return EventStream(
        writer.events(streaming), headers=headers(streaming.head) | sse.HEADERS, ping=writer.ping
    )


async def _events_with_keepalive(
    pending_stream: asyncio.Task[Streaming], writer: Writer
) -> AsyncGenerator[bytes, None]:
    """Keep-alive comments until the stream has content, then its events.

    They are comments, not the dialect's `ping`: clients expect no event before the first event of the answer.
    """
    try:
        while not pending_stream.done():
            yield sse.PING
            await asyncio.wait({pending_stream}, timeout=KEEPALIVE_EVERY_S)
    except BaseException:  # the client disconnected
        await _abandon(pending_stream)
        raise
    try:
        streaming = await pending_stream
    except RouterError as error:
        yield writer.failure(error)
        return
    async with aclosing(writer.events(streaming)) as events:
        async for event in events:
            yield event


async def _abandon(pending_stream: asyncio.Task[Streaming]) -> None:
    """Cancel the pending stream; if it has opened already, close it, which ends the model's call."""
    pending_stream.cancel()
    await asyncio.wait({pending_stream})
    if not pending_stream.cancelled() and pending_stream.exception() is None:
        await pending_stream.result().chunks.aclose()


def headers(head: Head) -> dict[str, str]:
    """The headers of every completion."""
    fields = {
        "X-Router-Model": head.arm_id,
        "X-Router-Decision": head.kind,
        "X-Router-Decision-Id": str(head.decision_id),
    }
    if head.simulated:
        fields["X-Router-Simulated"] = "true"
    if head.degraded:
        fields["X-Router-Degraded"] = ", ".join(head.degraded)
    return fields
