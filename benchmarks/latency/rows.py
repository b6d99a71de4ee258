"""Measures one kind of request: alone for its latency, then from many clients for its CPU and bytes."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.latency.load import Load, Requests, drive, drive_wrk, has_wrk
from benchmarks.latency.processes import precise_cpu_s
from benchmarks.latency.stored import Stored, stored
from benchmarks.latency.upstream import N_CHUNKS

N_CLIENTS = 32
IDLE_SHARE, IDLE_FOR_S, MOST_SETTLING_S = 0.08, 0.5, 20.0
NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Server:
    """What is measured.

    Args:
        pids: of the processes whose CPU counts, with all that they started.
        postgres_pid: of its PostgreSQL, whose CPU counts too; None: it has none that is measured.
        dsn: of the same.
    """

    url: str
    pids: tuple[int, ...] = ()
    postgres_pid: int | None = None
    dsn: str | None = None

    def cpu_s(self) -> tuple[float, float]:
        """CPU so far: of the processes, and of PostgreSQL."""
        postgres = () if self.postgres_pid is None else (self.postgres_pid,)
        return precise_cpu_s(self.pids), precise_cpu_s(postgres)


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of one kind of request.

    Args:
        p50_ms, p99_ms: at one client, to the last byte.
        tail_ms: median from the first content of a stream to its last byte, at one client.
        per_s: requests per second at many clients.
        cpu_us: CPU per request at many clients, of all measured processes.
        postgres_us: the part of PostgreSQL in it.
        table_bytes, wal_bytes: PostgreSQL, per request at many clients.
    """

    server: str
    name: str
    p50_ms: float
    p99_ms: float
    tail_ms: float
    per_s: float
    cpu_us: float
    postgres_us: float
    table_bytes: float
    wal_bytes: float
    n: int
    n_failed: int


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long each part of a row takes, in whole seconds."""

    alone_s: int
    crowd_s: int


async def warm_up(server: Server, requests: Requests, seconds: float) -> None:
    """Let a server do once what it does once, such as preparing its routes and fitting what it learned."""
    await drive(server.url, _named(requests, "first"), N_CLIENTS, seconds)
    await _settled(server)


async def answers_to_rate(server: Server, requests: Requests, seconds: int) -> list[str]:
    """The ids of answers that nobody has rated: of as many requests as many clients send in some seconds."""
    named = replace(requests, name="rated", has_ids=True)
    crowd = await _crowd(server.url, named, seconds)
    await _settled(server)
    # wrk prepares the first request and does not send it; the last ones may have no answer.
    return [f"rated-{number}" for number in range(1, crowd.n - N_CLIENTS)]


async def measure(name: str, server: Server, server_name: str, requests: Requests, lengths: Lengths) -> Row:
    alone = await drive(server.url, _named(requests, "c1"), 1, lengths.alone_s)
    await drive(server.url, _named(requests, "warm"), N_CLIENTS, 0.3)
    await _settled(server)
    before, used_before = await _stored(server), server.cpu_s()
    crowd = await _crowd(server.url, _named(requests, "crowd"), lengths.crowd_s)
    await _settled(server)  # what is done behind the answers is theirs too
    own_s, postgres_s = (now - then for now, then in zip(server.cpu_s(), used_before, strict=True))
    written = (await _stored(server)).since(before)
    n = max(crowd.n, 1)
    return Row(
        server=server_name,
        name=name,
        p50_ms=alone.percentile_ms(50),
        p99_ms=alone.percentile_ms(99),
        tail_ms=float(np.median(alone.tails_s)) * 1e3 if alone.tails_s else NAN,
        per_s=crowd.n / crowd.took_s,
        cpu_us=(own_s + postgres_s) / n * 1e6 if server.pids else NAN,
        postgres_us=postgres_s / n * 1e6 if server.dsn else NAN,
        table_bytes=written.tables / n if server.dsn else NAN,
        wal_bytes=written.wal / n if server.dsn else NAN,
        n=crowd.n,
        n_failed=alone.n_failed + crowd.n_failed,
    )


async def _settled(server: Server) -> None:
    """Wait until all its processes are idle, or work on and on."""
    with suppress(TimeoutError):
        async with asyncio.timeout(MOST_SETTLING_S):
            used_s, before = sum(server.cpu_s()), -math.inf
            while used_s - before > IDLE_SHARE * IDLE_FOR_S:
                await asyncio.sleep(IDLE_FOR_S)
                before, used_s = used_s, sum(server.cpu_s())


def chunk_us(stream: Row, whole: Row) -> float:
    """CPU of one chunk: what a stream takes beyond the same answer in one piece."""
    return (stream.cpu_us - whole.cpu_us) / N_CHUNKS


async def _crowd(url: str, requests: Requests, seconds: int) -> Load:
    if has_wrk():
        return await drive_wrk(url, requests, N_CLIENTS, seconds, n_bodies=4_000 * seconds)
    return await drive(url, requests, N_CLIENTS, seconds)


def _named(requests: Requests, part: str) -> Requests:
    return replace(requests, name=f"{requests.name}-{part}")


async def _stored(server: Server) -> Stored:
    return Stored(0, 0) if server.dsn is None else await stored(server.dsn)
