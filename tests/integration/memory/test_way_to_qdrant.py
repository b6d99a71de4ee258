"""The way to a Qdrant server: beyond an HTTP proxy, and with a key."""

from __future__ import annotations

import pytest

from service.memory.qdrant import QdrantMemory
from tests.forward_proxy import forwarding
from tests.integration.qdrant_server import QdrantServer


async def connected(url: str, proxy: str | None, api_key: str | None = None) -> QdrantMemory:
    return await QdrantMemory.connect(
        url,
        api_key=api_key,
        name="router",
        encoder="of the proxy",
        dimension=4,
        max_points_per_arm=10,
        timeout_s=10,
        proxy=proxy,
    )


async def test_the_memory_is_called_through_the_proxy(qdrant_server: QdrantServer) -> None:
    async with forwarding(qdrant_server.grpc_port) as proxy:
        memory = await connected("http://qdrant.example", proxy.url)

        assert await memory.count() == 0
        await memory.close()

    assert set(proxy.calls) == {"CONNECT qdrant.example:6334"}


async def test_the_memory_is_called_directly_without_a_proxy_of_its_own(
    qdrant_server: QdrantServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("grpc_proxy", "https_proxy", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    memory = await connected(qdrant_server.url, None)

    assert await memory.count() == 0
    await memory.close()


async def test_a_key_over_http_is_one_line_of_the_log(
    qdrant_server: QdrantServer, capsys: pytest.CaptureFixture[str]
) -> None:
    memory = await connected(qdrant_server.url, None, api_key="hush")  # warnings are errors in tests
    await memory.close()

    [line] = capsys.readouterr().out.splitlines()
    assert "memory_key_unencrypted" in line
    assert "hush" not in line
