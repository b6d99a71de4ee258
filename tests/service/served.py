"""Serves the application over real HTTP, for clients that open their own connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from socket import socket

import uvicorn

from service.api.connections import Connections
from tests.service.world import World, application


@asynccontextmanager
async def serving(world: World, connections: Connections | None = None) -> AsyncIterator[int]:
    """Serve on a free port of this machine."""
    app = application(world.parts.settings, world.parts)
    connections = connections or Connections()
    config = uvicorn.Config(
        app,
        http=connections.protocol,  # type: ignore[arg-type]  # what uvicorn calls
        ws="none",
        port=0,
        lifespan="off",
        log_config=None,
        access_log=False,
    )
    server = StartedServer(config)
    running = asyncio.create_task(server.serve())
    await server.is_up.wait()
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await running


class StartedServer(uvicorn.Server):
    """Sets `is_up` when it listens, and leaves signals to the test run."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
