"""Frames server-sent events."""

from __future__ import annotations

import orjson

from service.domain.basics import Json

DONE = b"data: [DONE]\n\n"
PING = b": ping\n\n"
HEADERS = {
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",  # nginx must not buffer events
}


def event(data: Json) -> bytes:
    """One event with a JSON object as its data."""
    return b"data: " + orjson.dumps(data) + b"\n\n"
