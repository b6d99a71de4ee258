"""A socket before PostgreSQL's that counts what clients send on it."""

from __future__ import annotations

import asyncio
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg

SOCKET_NAME = ".s.PGSQL.5432"
# The messages whose answer a client waits for: Query, Sync, Flush, and the end of a COPY.
ANSWERED = frozenset(b"QSHc")


class PostgresWire:
    """Round trips and bytes, counted in threads, so that the event loop of a test has no part in it.

    Args:
        dsn: of a server that listens on a socket of its own, as those of tests do.
    """

    def __init__(self, dsn: str, folder: Path) -> None:
        self.n_round_trips = self.n_bytes = 0
        self.direct_dsn = dsn
        [server_folder] = parse_qs(urlsplit(dsn).query)["host"]
        self._server = f"{server_folder}/{SOCKET_NAME}"
        self.dsn = f"{dsn.partition('?')[0]}?host={quote(str(folder), safe='')}"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"{folder}/{SOCKET_NAME}")
        self._listener.listen()

    def reset(self) -> None:
        self.n_round_trips = self.n_bytes = 0

    async def silence_vacuum(self) -> None:
        """Let no transaction of the server's own be counted: it gives those of all databases numbers."""
        connection = await asyncpg.connect(self.direct_dsn)
        try:
            await connection.execute("ALTER SYSTEM SET autovacuum = off")
            await connection.execute("SELECT pg_reload_conf()")
            while await connection.fetchval(_VACUUMS):  # noqa: ASYNC110  # the server tells nobody
                await asyncio.sleep(0.05)
        finally:
            await connection.close()

    async def written(self) -> tuple[int, int]:
        """The transactions that wrote, and the bytes of the log, since the server was made."""
        connection = await asyncpg.connect(self.direct_dsn)
        try:
            row = await connection.fetchrow(_WRITTEN)
        finally:
            await connection.close()
        assert row is not None
        return int(row[0]), int(row[1])

    def accept_forever(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._server)
            for source, sink, see in ((client, server, self._counter()), (server, client, _ignore)):
                threading.Thread(target=_forward, args=(source, sink, see), daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _counter(self) -> Callable[[bytes], None]:
        """Reads the messages of one connection; the first one has no type."""
        waiting, has_started = bytearray(), False

        def see(data: bytes) -> None:
            nonlocal has_started
            waiting.extend(data)
            self.n_bytes += len(data)
            while len(waiting) >= 5:
                offset = 1 if has_started else 0
                n_bytes = offset + int.from_bytes(waiting[offset : offset + 4])
                if len(waiting) < n_bytes:
                    return
                self.n_round_trips += has_started and waiting[0] in ANSWERED
                del waiting[:n_bytes]
                has_started = True

        return see


@contextmanager
def postgres_wire(dsn: str) -> Iterator[PostgresWire]:
    with tempfile.TemporaryDirectory(prefix="wire-") as folder:  # short: a socket's path is
        wire = PostgresWire(dsn, Path(folder))
        thread = threading.Thread(target=wire.accept_forever, daemon=True)
        thread.start()
        try:
            yield wire
        finally:
            wire.close()
            thread.join()


_VACUUMS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'"
_WRITTEN = """
SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint,
    (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint
"""


def _forward(source: socket.socket, sink: socket.socket, see: Callable[[bytes], None]) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            see(data)
            sink.sendall(data)
    for side in (source, sink):
        with suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)
    source.close()  # the other thread closes the other one


def _ignore(data: bytes) -> None:
    """Nothing is counted of what the server answers."""
