from __future__ import annotations

import socket

import pytest
from aiohttp import AddrInfoType

from service.providers.openai_compatible import OpenAICompatibleClient
from service.providers.sockets import probed_socket
from tests.service.providers.scripted import BODY, NOW, SECRETS, Upstream, answers, completion

OPTIONS = [("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)]


@pytest.mark.parametrize(("name", "value"), OPTIONS)
def test_a_peer_that_vanished_is_noticed_within_minutes(name: str, value: int) -> None:
    if not hasattr(socket, name):
        pytest.skip(f"this system has no {name}")

    with probed_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 0))) as opened:
        assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0
        assert opened.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) == value


async def test_providers_are_called_through_such_sockets(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[AddrInfoType] = []

    def recorded(address: AddrInfoType) -> socket.socket:
        opened.append(address)
        return probed_socket(address)

    monkeypatch.setattr("service.providers.http.probed_socket", recorded)
    client = OpenAICompatibleClient(SECRETS, lambda: NOW)
    upstream.script = answers(completion("hi"))

    await client.complete(upstream.arm(), BODY, timeout_s=20)
    await client.close()

    assert len(opened) == 1
