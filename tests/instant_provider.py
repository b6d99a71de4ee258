"""The provider that answers at once, on a loop of its own: counts of the test's loop are without it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.latency.upstream import Provider


@contextmanager
def instant_provider() -> Iterator[str]:
    """Its base URL while the block runs."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(Provider, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(server.wait_closed())
        loop.close()
