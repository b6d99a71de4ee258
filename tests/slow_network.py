"""A way to a server that takes time, or that swallows everything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

CHUNK = 64 * 1024


@dataclass
class SlowNetwork:
    """A TCP proxy on loopback to a server on a Unix socket.

    Args:
        round_trip_s: how long a byte to the server and its answer take on the way.
        is_cut: whether everything is swallowed, and no connection is closed, as behind a dead link.
    """

    server: str
    round_trip_s: float
    is_cut: bool = False
    port: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def dsn(self, user: str = "postgres", database: str = "postgres") -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}?sslmode=disable"

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self.round_trip_s)  # the handshake of TCP
        to_server, from_server = None, None
        with suppress(OSError):
            from_server, to_server = await asyncio.open_unix_connection(self.server)
        if to_server is None or from_server is None:
            writer.close()
            return
        for source, sink in ((reader, to_server), (from_server, writer)):
            task = asyncio.create_task(self._forward(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _forward(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Pass on each piece after half a round trip; those after it do not wait for it."""
        loop, on_the_way = asyncio.get_running_loop(), asyncio.Queue[tuple[float, bytes]]()

        async def deliver() -> None:
            while True:
                due, data = await on_the_way.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                if not data:
                    return
                if not self.is_cut:
                    sink.write(data)

        delivering = asyncio.create_task(deliver())
        try:
            with suppress(ConnectionError):
                while data := await source.read(CHUNK):
                    on_the_way.put_nowait((loop.time() + self.round_trip_s / 2, data))
            on_the_way.put_nowait((loop.time() + self.round_trip_s / 2, b""))
            await delivering
        finally:
            delivering.cancel()
            sink.close()

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def slow_network(server: str, round_trip_s: float) -> AsyncIterator[SlowNetwork]:
    network = SlowNetwork(server, round_trip_s)
    listener = await asyncio.start_server(network.accept, "127.0.0.1", 0)
    network.port = listener.sockets[0].getsockname()[1]
    try:
        yield network
    finally:
        listener.close()
        await network.close()
