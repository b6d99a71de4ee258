from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from service.domain.arm import Arm
from service.errors import ProviderBroken, ProviderTimeout
from service.providers.price_lists import HttpPriceLists
from tests.service.providers.scripted import KEY, NOW, SECRETS, listening

LIST = {"data": [{"id": "lab/model", "pricing": {"prompt": "0.000001", "completion": "0.000002"}}]}


class Server:
    """A server that publishes its models, and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[web.Request] = []
        self.answer: web.Response | None = web.json_response(LIST)
        self.base_url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        if self.answer is None:
            await asyncio.Event().wait()
        assert self.answer is not None
        return self.answer

    def arm(self, key: str | None = "UPSTREAM_KEY", path: str = "/v1") -> Arm:
        return Arm("a", "openai", "lab/model", base_url=self.base_url + path, api_key_env=key)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    async with listening(server.handle) as server.base_url:
        yield server


@pytest.fixture
async def price_lists() -> AsyncIterator[HttpPriceLists]:
    price_lists = HttpPriceLists(SECRETS, lambda: NOW, timeout_s=5.0)
    yield price_lists
    await price_lists.close()


async def test_the_list_is_read_with_the_arms_key(server: Server, price_lists: HttpPriceLists) -> None:
    found = await price_lists.read(server.arm())

    [request] = server.asked
    assert (request.method, request.path) == ("GET", "/v1/models")
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert found["lab/model"].price.output == 2


async def test_an_arm_without_a_key_sends_none(server: Server, price_lists: HttpPriceLists) -> None:
    await price_lists.read(server.arm(key=None))

    assert "Authorization" not in server.asked[0].headers


async def test_a_key_that_is_not_set_is_an_error(server: Server, price_lists: HttpPriceLists) -> None:
    with pytest.raises(ProviderBroken, match="is not set"):
        await price_lists.read(server.arm(key="ANOTHER_KEY"))

    assert server.asked == []


@pytest.mark.parametrize("status", [204, 301, 401, 404, 500])
async def test_any_other_status_is_an_error(server: Server, price_lists: HttpPriceLists, status: int) -> None:
    server.answer = web.Response(status=status, headers={"Location": f"{server.base_url}/elsewhere"})

    with pytest.raises(ProviderBroken, match=str(status)):
        await price_lists.read(server.arm())

    assert len(server.asked) == 1  # a redirect would take the key elsewhere


@pytest.mark.parametrize("text", ["", "<html>", "[" * 100_000, '{"data": 5}'])
async def test_what_is_no_list_has_no_models(server: Server, price_lists: HttpPriceLists, text: str) -> None:
    server.answer = web.Response(text=text, content_type="application/json")

    assert await price_lists.read(server.arm()) == {}


async def test_a_silent_server_is_not_waited_for(server: Server) -> None:
    server.answer = None
    price_lists = HttpPriceLists(SECRETS, lambda: NOW, timeout_s=0.05)

    with pytest.raises(ProviderTimeout):
        await price_lists.read(server.arm())

    await price_lists.close()


async def test_a_server_that_is_not_there_is_an_error(price_lists: HttpPriceLists) -> None:
    with pytest.raises(ProviderBroken):
        await price_lists.read(Arm("a", "openai", "m", base_url="http://127.0.0.1:9/v1"))
