"""What answering a query is in every dialect: run it, and write what comes, whole or as events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from fastapi import Request
from starlette.responses import Response

from service.api.answers import JsonAnswer
from service.api.caller import unless_gone
from service.api.stream import EventStream
from service.completion import Completed, Head, Streaming
from service.dialects import sse
from service.parts import Parts
from service.types import Json, Query


@dataclass(frozen=True, slots=True)
class Writer:
    """How a dialect writes answers."""

    whole: Callable[[Completed], Json]
    events: Callable[[Streaming], AsyncGenerator[bytes, None]]
    ping: bytes = sse.PING


async def respond(request: Request, parts: Parts, query: Query, writer: Writer) -> Response:
    """Answer a query over HTTP; given up as soon as the caller hangs up."""
    if query.stream:
        streaming = await unless_gone(request, parts.completion.stream(query))
        return EventStream(
            writer.events(streaming), headers=headers(streaming.head) | sse.HEADERS, ping=writer.ping
        )
    completed = await unless_gone(request, parts.completion.complete(query))
    return JsonAnswer(writer.whole(completed), headers=headers(completed.head))


def headers(head: Head) -> dict[str, str]:
    """What every completion says of itself."""
    said = {"X-Router-Model": head.arm_id, "X-Router-Decision": head.kind}
    if head.simulated:
        said["X-Router-Simulated"] = "true"
    if head.degraded:
        said["X-Router-Degraded"] = ", ".join(head.degraded)
    return said
