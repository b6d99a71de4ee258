"""Clients that send the bodies of a file and measure: asyncio on plain sockets, or wrk."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import numpy as np

from benchmarks.latency.upstream import content_length

WRK_SCRIPT = Path(__file__).with_name("wrk.lua")
GRACE_S = 120.0  # longest wait for the last answers


@dataclass(frozen=True, slots=True)
class Requests:
    """What is sent: one path, and bodies that never end.

    Args:
        has_ids: the n-th has the id `<name>-<n>`; most clients send none, and the router makes one.
    """

    name: str
    path: str
    bodies: Iterator[bytes]
    has_ids: bool = False

    def head(self, number: int, n_bytes: int) -> bytes:
        request_id = f"X-Request-ID: {self.name}-{number}\r\n" if self.has_ids else ""
        return (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"{request_id}Content-Length: {n_bytes}\r\n\r\n"
        ).encode()


@dataclass(frozen=True, slots=True)
class Load:
    """What the clients saw.

    Args:
        latencies_s: of each answer to its last byte; empty: not measured.
        tails_s: of each answer, from its first content to its last byte.
        n_failed: answers other than 2xx.
    """

    n: int
    n_failed: int
    took_s: float
    latencies_s: list[float]
    tails_s: list[float]

    def percentile_ms(self, q: float) -> float:
        return float(np.percentile(self.latencies_s, q)) * 1e3 if self.latencies_s else float("nan")


async def drive(url: str, requests: Requests, n_clients: int, seconds: float) -> Load:
    """Keep some clients busy for some seconds, each with one request at a time."""
    until = time.perf_counter() + seconds
    numbers = iter(range(1_000_000_000))
    address = urlsplit(url)
    host, port = address.hostname or "127.0.0.1", address.port or 80
    loop, clients = asyncio.get_running_loop(), list[_Client]()
    start = time.perf_counter()
    for _ in range(n_clients):
        _, client = await loop.create_connection(
            lambda: _Client(requests, lambda: next(numbers), until), host, port
        )
        clients.append(client)
    async with asyncio.timeout(seconds + GRACE_S):
        await asyncio.gather(*(client.done for client in clients))
    took_s = time.perf_counter() - start
    latencies_s = [latency for client in clients for latency in client.latencies_s]
    tails_s = [tail for client in clients for tail in client.tails_s]
    return Load(len(latencies_s), sum(c.n_failed for c in clients), took_s, latencies_s, tails_s)


class _Client(asyncio.Protocol):
    """One connection, which sends the next request as soon as the last is answered."""

    def __init__(self, requests: Requests, number: Callable[[], int], until: float) -> None:
        self.latencies_s: list[float] = []
        self.tails_s: list[float] = []
        self.n_failed = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._requests, self._number, self._until = requests, number, until
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._sent_at = self._first_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._send()

    def _send(self) -> None:
        assert self._transport is not None
        if time.perf_counter() >= self._until:
            self._transport.close()
            self.done.set_result(None)
            return
        body = next(self._requests.bodies)
        self._received.clear()
        self._first_at = 0.0
        self._sent_at = time.perf_counter()
        self._transport.write(self._requests.head(self._number(), len(body)) + body)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._first_at and b'"content":" word' in data:
            self._first_at = time.perf_counter()
        if not _is_whole(self._received):
            return
        now = time.perf_counter()
        self.latencies_s.append(now - self._sent_at)
        if self._first_at:
            self.tails_s.append(now - self._first_at)
        self.n_failed += not self._received.startswith(b"HTTP/1.1 2")
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the server closed the connection"))


def _is_whole(received: bytearray) -> bool:
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = bytes(received[:end])
    if b"chunked" in head:
        return received.endswith(b"0\r\n\r\n")
    return len(received) >= end + 4 + content_length(head)


def has_wrk() -> bool:
    return shutil.which("wrk") is not None


async def drive_wrk(url: str, requests: Requests, n_clients: int, seconds: float, n_bodies: int) -> Load:
    """The same with wrk, which costs less CPU; its bodies begin again after `n_bodies`."""
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        file.writelines(next(requests.bodies) + b"\n" for _ in range(n_bodies))
        file.flush()
        command = ["wrk", "-t1", f"-c{n_clients}", f"-d{seconds:g}s", "--timeout", "30s", "-s", WRK_SCRIPT]
        process = await asyncio.create_subprocess_exec(
            *map(str, command),
            url + requests.path,
            "--",
            file.name,
            *([requests.name] if requests.has_ids else []),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
    found = re.search(rb"^summary (.*)$", output, re.MULTILINE)
    if found is None:
        raise RuntimeError(output.decode())
    summary = json.loads(found[1])
    n_failed = summary["non_2xx"] + summary["errors"]
    return Load(summary["requests"], n_failed, summary["took_s"], [], [])
