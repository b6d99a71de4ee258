"""A small HTTP proxy on a free port of this machine, which sends every call to one server."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class ForwardProxy:
    """The calls that the proxy received: method and target, and the login of each.

    Args:
        port: where every call goes, whatever host it names.
        refuses_with: answer with this status instead.
    """

    def __init__(self, port: int, refuses_with: int | None = None) -> None:
        self.calls: list[str] = []
        self.logins: list[str | None] = []
        self.url = ""
        self._port = port
        self._refuses_with = refuses_with
        self._writers: list[asyncio.StreamWriter] = []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._forward(reader, writer)
        writer.close()

    async def close(self) -> None:
        for writer in self._writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, target, version = first.split()
        self.calls.append(f"{method} {target}")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        login = headers.get("proxy-authorization")
        self.logins.append(login and b64decode(login.removeprefix("Basic ")).decode())
        if self._refuses_with is not None:
            writer.write(f"HTTP/1.1 {self._refuses_with} No\r\nContent-Length: 0\r\n\r\n".encode())
            return
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self._port)
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        else:
            path = "/" + target.partition("://")[2].partition("/")[2]
            upstream_writer.write("\r\n".join([f"{method} {path} {version}", *lines]).encode())
        self._writers.append(upstream_writer)
        await asyncio.gather(_pipe(upstream_reader, writer), _pipe(reader, upstream_writer))


@asynccontextmanager
async def forwarding(port: int, refuses_with: int | None = None) -> AsyncIterator[ForwardProxy]:
    proxy = ForwardProxy(port, refuses_with)
    server = await asyncio.start_server(proxy.handle, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while block := await reader.read(65_536):
            writer.write(block)
            await writer.drain()
    writer.close()
