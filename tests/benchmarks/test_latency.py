"""The clients and the upstream of the latency benchmark, and the slopes of the other one."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle

import numpy as np
import pytest

from benchmarks.latency import bodies
from benchmarks.latency.load import Requests, drive
from benchmarks.latency.processes import precise_cpu_s
from benchmarks.latency.report import table
from benchmarks.latency.rows import Lengths, Server, measure
from benchmarks.latency.upstream import Provider
from benchmarks.scale import Point, slopes


@asynccontextmanager
async def provider() -> AsyncIterator[str]:
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def requests(*, stream: bool) -> Requests:
    return Requests("test", bodies.CHAT, cycle([bodies.chat("Hi", stream=stream)]))


@pytest.mark.parametrize("stream", [False, True])
async def test_every_client_sends_its_next_request_once_the_last_is_answered(stream: bool) -> None:
    async with provider() as url:
        load = await drive(url, requests(stream=stream), 3, 0.2)

    assert load.n >= 3
    assert load.n_failed == 0
    assert len(load.tails_s) == (load.n if stream else 0)
    assert load.percentile_ms(50) > 0


async def test_a_failure_is_counted() -> None:
    class Failing(Provider):
        def data_received(self, data: bytes) -> None:
            assert self._transport is not None
            self._transport.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")

    server = await asyncio.get_running_loop().create_server(Failing, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        load = await drive(url, requests(stream=False), 2, 0.05)

    assert load.n_failed == load.n > 0


async def test_a_row_shows_what_was_measured() -> None:
    async with provider() as url:
        row = await measure("chat", Server(url), "direct", requests(stream=False), Lengths(1, 1))

    assert row.n > 0
    assert row.per_s > 0
    assert "direct: chat" in table([row])


def test_a_prompt_has_as_many_words_as_asked_and_hardly_comes_twice() -> None:
    texts = bodies.Texts(np.random.default_rng(0))

    prompts = [texts.prompt(18) for _ in range(200)]

    assert {len(prompt.split()) for prompt in prompts} == {18}
    assert len(set(prompts)) == 200


def test_a_slope_is_the_exponent_of_the_cost() -> None:
    points = [Point("memories", size, 0.1 * size**0.5) for size in (100, 1_000, 10_000)]

    assert slopes(points) == ["memories: x 100 costs x 10.00, so cost ~ size^0.50"]


def test_workers_are_compared_with_one() -> None:
    points = [Point("workers", 1, 1.0, 500.0), Point("workers", 2, 1.0, 950.0)]

    assert slopes(points) == ["workers: requests/s beside 1: 2: 1.90 x"]


def test_the_cpu_of_what_has_ended_counts() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}]); print(); input()"
    with subprocess.Popen(
        [sys.executable, "-uc", start], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()

        used_s = precise_cpu_s([parent.pid])

        parent.communicate(b"\n")
    assert used_s >= 0.28
