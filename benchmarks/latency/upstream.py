"""A provider that answers at once: whole, or as a stream of chunks.

    python -m benchmarks.latency.upstream PORT

It reads no more of a request than it must, so that its own work hardly counts.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import cast

import orjson
import uvloop

N_CHUNKS = 200  # of content, in a stream
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
USAGE = {"prompt_tokens": 24, "completion_tokens": N_CHUNKS, "total_tokens": 24 + N_CHUNKS}
NAMED = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": "instant"}


def _whole() -> bytes:
    message = {"role": "assistant", "content": "This is what an instant provider answers to everything."}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    body = orjson.dumps({**NAMED, "object": "chat.completion", "choices": [choice], "usage": USAGE})
    return HEAD % (len(body), body)


def _event(delta: dict[str, str], finish_reason: str | None = None, **more: object) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
    chunk = {**NAMED, "object": "chat.completion.chunk", "choices": [choice], **more}
    return _framed(b"data: " + orjson.dumps(chunk) + b"\n\n")


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _stream() -> list[bytes]:
    content = [_event({"content": f" word{number}"}) for number in range(N_CHUNKS)]
    return [
        STREAM_HEAD + _event({"role": "assistant", "content": ""}),
        *content,
        _event({}, "stop"),
        _event({}, None, usage=USAGE, choices=[]),
        _framed(b"data: [DONE]\n\n") + b"0\r\n\r\n",
    ]


WHOLE, STREAM = _whole(), _stream()
MODELS = b'{"object":"list","data":[]}'


class Provider(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self._streaming: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, rest = self._received.partition(b"\r\n\r\n")
        if not found or len(rest) < content_length(head):
            return
        self._received = b""
        assert self._transport is not None
        if head.startswith(b"GET"):
            self._transport.write(HEAD % (len(MODELS), MODELS))
        elif b'"stream":true' in rest or b'"stream": true' in rest:
            self._streaming = asyncio.create_task(self._stream(self._transport))
        else:
            self._transport.write(WHOLE)

    async def _stream(self, transport: asyncio.Transport) -> None:
        """One write a chunk, each in a turn of the loop of its own, as long as the client listens."""
        for part in STREAM:
            if transport.is_closing():
                return
            transport.write(part)
            await asyncio.sleep(0)


def content_length(head: bytes) -> int:
    """The length of the body after this head."""
    found = head.lower().partition(b"\r\ncontent-length:")[2]
    return int(found.split(b"\r\n", 1)[0] or 0)


async def serve(port: int, protocol: Callable[[], asyncio.Protocol] = Provider) -> None:
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
