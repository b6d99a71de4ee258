"""The pages whose requests the service answers, on every route."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.errors import StartupError
from service.settings.load import load_settings
from tests.service.api.test_hosts import every_route
from tests.service.world import World, error_of, opened


@pytest.mark.parametrize(("method", "path"), every_route())
async def test_every_route_refuses_a_foreign_page(world: World, method: str, path: str) -> None:
    response = await world.http.request(method, path, headers={"Origin": "http://127.evil.example:8080"})

    assert response.status_code == 403
    assert method == "HEAD" or "CORS_ORIGINS" in response.text
    assert "access-control-allow-origin" not in response.headers


@pytest.fixture
async def world_of_an_app(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path, cors_origins="https://App.Example:443/") as world:
        yield world


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "https://app.example.evil.example",
        "http://app.example",
        "https://app.example:8443",
        "https://sub.app.example",
        "http://127.0.0.1:9999",
        "https://127.0.0.1:8080",
        "http://localhost:8080",
        "http://127.0.0.1",
        "null",
        "",
        "http://[",
        "file://",
        "http://me@127.0.0.1:8080",
        "http://127.0.0.1:8080/",
    ],
)
async def test_only_the_exact_origin_is_allowed(world_of_an_app: World, origin: str) -> None:
    response = await world_of_an_app.ask(headers={"Origin": origin})

    assert response.status_code == 403
    assert error_of(response)["code"] == "origin_not_allowed"
    assert world_of_an_app.model_client.calls == []


async def test_two_origins_are_none(world_of_an_app: World) -> None:
    headers = [("Origin", "https://app.example"), ("Origin", "https://app.example")]

    assert (await world_of_an_app.http.get("/ready", headers=headers)).status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "[::1]:8080"])
async def test_the_services_own_pages_are_allowed(world: World, host: str) -> None:
    response = await world.ask(headers={"Origin": f"http://{host}", "Host": host})

    assert response.status_code == 200


async def test_a_star_allows_every_page_that_has_a_name(tmp_path: Path) -> None:
    async with opened(tmp_path, cors_origins="*") as world:
        named = await world.ask(headers={"Origin": "https://any.example"})
        unnamed = await world.ask(headers={"Origin": "null"})

    assert (named.status_code, unnamed.status_code) == (200, 403)


@pytest.mark.parametrize("value", ["null", "app.example", "https://app.example/path", "https://*.example"])
def test_what_is_no_origin_stops_the_start(value: str) -> None:
    with pytest.raises(StartupError, match="CORS_ORIGINS"):
        load_settings(None, {"CORS_ORIGINS": value})


FETCHED = {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
FRAMED = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
FOLLOWED = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("headers", [FETCHED, FRAMED, {}], ids=["an image", "a frame", "unknown"])
async def test_what_a_foreign_page_loads_is_refused(world: World, site: str, headers: dict[str, str]) -> None:
    response = await world.http.get("/v1/stats", headers={"Sec-Fetch-Site": site, **headers})

    assert response.status_code == 403
    assert error_of(response)["code"] == "origin_not_allowed"


@pytest.mark.parametrize("site", ["none", "same-origin", "cross-site"])
async def test_a_link_leads_to_the_documentation(world: World, site: str) -> None:
    response = await world.http.get("/docs", headers={"Sec-Fetch-Site": site, **FOLLOWED})

    assert response.status_code == 200


async def test_nodes_fetch_is_no_page(world: World) -> None:
    response = await world.ask(headers={"Sec-Fetch-Mode": "cors"})

    assert response.status_code == 200
