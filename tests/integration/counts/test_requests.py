"""What one request makes of the event loop, of PostgreSQL and of the heap, for each way through the router.

The limits are what was counted, with some room: periodic work falls into the measured requests too. A change
that needs more than a limit says why in its commit.
"""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn

from benchmarks.latency.bodies import settings
from benchmarks.latency.upstream import N_CHUNKS
from service.app import create_app, in_front
from service.bootstrap.basics import no_progress
from service.bootstrap.open import open_parts
from service.bootstrap.vectors import build_encoder
from service.domain.basics import Json
from service.domain.ports import Memory
from service.settings.load import load_settings
from service.settings.settings import Settings
from tests.counting import Counts, counting, peak_bytes, python_calls
from tests.instant_provider import instant_provider
from tests.integration.postgres_server import Cluster
from tests.postgres_wire import PostgresWire, postgres_wire
from tests.service.served import StartedServer

N_WARM_UP, N_COUNTED, N_TAUGHT = 10, 20, 120

# Mean of one request.
LIMITS = {
    "pinned": Counts(
        tasks=8, timers=10, timeouts=3, round_trips=3.5, commits=1.8, sent_bytes=9_000, wal_bytes=8_000
    ),
    "routed, seen": Counts(
        tasks=9, timers=12, timeouts=4, round_trips=3.8, commits=2, sent_bytes=25_000, wal_bytes=16_000
    ),
    "feedback": Counts(
        tasks=7, timers=14, timeouts=4, round_trips=8, commits=3, sent_bytes=3_500, wal_bytes=4_000
    ),
    "stream": Counts(
        tasks=11, timers=20, timeouts=3, round_trips=5, commits=3, sent_bytes=10_000, wal_bytes=8_000
    ),
}
MOST_CALLS = {"pinned": 1_900, "routed, seen": 2_250, "feedback": 1_600, "stream": 13_000}  # of Python
MOST_BYTES = 2_000_000  # that one request may hold, its garbage included


@dataclass(frozen=True, slots=True)
class Running:
    """A router in the process of the test, with the wire to its PostgreSQL."""

    port: int
    wire: PostgresWire
    memory: Memory

    async def teach(self) -> None:
        """Rate answers, so that a decision has as many neighbours as it can have."""
        asked = _chats()("taught", N_TAUGHT)
        for number, (_, body, _) in enumerate(asked):
            body["messages"] = [{"role": "user", "content": f"Which of the sentences is number {number}?"}]
        await self.send(asked)
        await self.send(_ratings("taught", N_TAUGHT))
        async with asyncio.timeout(60):
            while await self.memory.count() < N_TAUGHT:  # noqa: ASYNC110  # an embedded engine tells nobody
                await asyncio.sleep(0.05)

    async def send(self, requests: list[tuple[str, Json, str]]) -> None:
        """Send requests (path, body, id) one after the other, from a thread outside the counted loop."""
        await asyncio.to_thread(self._send, requests)

    def _send(self, requests: list[tuple[str, Json, str]]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with closing(connection):
            for path, body, request_id in requests:
                headers = {"Content-Type": "application/json", "X-Request-ID": request_id}
                connection.request("POST", path, json.dumps(body), headers)
                answer = connection.getresponse()
                content = answer.read()
                assert answer.status in {200, 202}, content


Requests = Callable[[str, int], list[tuple[str, Json, str]]]


def _chats(**body: object) -> Requests:
    def make(name: str, n: int) -> list[tuple[str, Json, str]]:
        messages = [{"role": "user", "content": "Which of these two sentences is shorter?"}]
        return [("/v1/chat/completions", {"messages": messages, **body}, f"{name}-{k}") for k in range(n)]

    return make


def _ratings(name: str, n: int) -> list[tuple[str, Json, str]]:
    return [("/feedback", {"request_id": f"{name}-{k}", "score": 0.7}, f"rated-{name}-{k}") for k in range(n)]


REQUESTS: dict[str, Requests] = {
    "pinned": _chats(model="medium"),
    "routed, seen": _chats(),
    "feedback": _ratings,
    "stream": _chats(model="medium", stream=True),
}


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with instant_provider() as base_url:
        yield base_url


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The encoder, built once."""
    data_dir = tmp_path_factory.mktemp("encoder")
    build_encoder(Settings(data_dir=data_dir), {}, no_progress)
    return data_dir / "encoder"


@asynccontextmanager
async def running(dsn: str, upstream_url: str, folder: Path, encoder: Path) -> AsyncIterator[Running]:
    (folder / "data").mkdir()
    (folder / "data" / "encoder").symlink_to(encoder)
    with postgres_wire(dsn) as wire:
        config = folder / "config.json"
        config.write_text(json.dumps(settings(upstream_url)), "utf-8")
        environ = {"DATABASE_URL": wire.dsn, "DATA_DIR": str(folder / "data"), "CALLBACKS": ""}
        read = load_settings(config, environ)
        async with open_parts(read, environ) as parts:
            app = in_front(create_app(read, environ, parts), read)
            server = StartedServer(
                uvicorn.Config(app, port=0, lifespan="off", log_config=None, access_log=False, loop="asyncio")
            )
            serving = asyncio.create_task(server.serve())
            await server.is_up.wait()
            try:
                yield Running(server.servers[0].sockets[0].getsockname()[1], wire, parts.memory)
            finally:
                server.should_exit = True
                await serving


@pytest.mark.parametrize("kind", LIMITS)
async def test_a_request_stays_within_its_counts(
    kind: str, embedded_cluster: Cluster, upstream: str, encoder_folder: Path, tmp_path: Path
) -> None:
    requests, dsn = REQUESTS[kind], await embedded_cluster.fresh_database()
    async with running(dsn, upstream, tmp_path, encoder_folder) as router:
        for name in ("warm", "counted", "called", "measured") if kind == "feedback" else ():
            await router.send(_chats()(name, max(N_WARM_UP, N_COUNTED)))
        if kind == "routed, seen":
            await router.teach()
        await router.send(requests("warm", N_WARM_UP))
        async with counting(router.wire) as counts:
            await router.send(requests("counted", N_COUNTED))
        with python_calls() as n_calls:
            await router.send(requests("called", N_COUNTED))
        with peak_bytes() as peak:
            await router.send(requests("measured", 1))

    mean = counts.per(N_COUNTED)
    print(f"{kind}: {mean}, {n_calls[0] / N_COUNTED:,.0f} calls, peak {peak[0]:,} bytes")  # noqa: T201  # shown when a limit is exceeded
    assert mean.above(LIMITS[kind]) == {}
    assert n_calls[0] / N_COUNTED <= MOST_CALLS[kind]
    assert peak[0] <= MOST_BYTES


def test_the_stream_has_the_chunks_that_its_limits_are_for() -> None:
    assert N_CHUNKS == 200
