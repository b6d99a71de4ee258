"""The names under which the service may be called, on every route."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from fastapi.routing import iter_route_contexts

from service.api.hosts import Hosts
from service.app import create_app
from service.dialects.chat.errors import OpenAIErrors
from service.dialects.offered import dialect_of
from service.errors import StartupError
from service.settings.load import load_settings
from service.settings.settings import Settings
from tests.service.world import World, error_of, opened

ENDLESS = ("GET", "/sse")  # its answer lasts as long as its client
UNKNOWN = [("GET", "/"), ("POST", "/nowhere"), ("OPTIONS", "/v1/chat/completions"), ("GET", "//evil.example")]


def every_route() -> list[tuple[str, str]]:
    """Method and path of every route, and of some that do not exist."""
    routes = iter_route_contexts(create_app(Settings.model_validate({}), {}).routes)
    known = [(method, str(route.path)) for route in routes for method in sorted(route.methods or set())]
    assert {"/docs", "/openapi.json", "/metrics", "/health", "/admin/models"} <= {path for _, path in known}
    return [*known, *UNKNOWN]


@pytest.mark.parametrize(("method", "path"), every_route())
async def test_every_route_refuses_a_foreign_name(world: World, method: str, path: str) -> None:
    response = await world.http.request(method, path, headers={"Host": "127.evil.example:8080"})

    assert response.status_code == 421
    if method == "HEAD":
        return
    dialect = dialect_of(path, {})
    dialect.error_model.model_validate(response.json())
    if isinstance(dialect, OpenAIErrors):
        assert (error_of(response)["code"], error_of(response)["param"]) == ("host_not_allowed", "Host")
    assert "ALLOWED_HOSTS" in response.text
    assert response.headers["X-Request-ID"]


@pytest.mark.parametrize(("method", "path"), [route for route in every_route() if route != ENDLESS])
async def test_no_route_refuses_a_program_on_this_machine(world: World, method: str, path: str) -> None:
    response = await world.http.request(method, path, headers={"Host": "localhost:8080"})

    assert response.status_code not in {403, 421}


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8080", "127.8.8.8:1", "localhost", "LOCALHOST.:8080", "[::1]", "[::1]:8080"],
)
async def test_loopback_under_any_name_is_allowed(world: World, host: str) -> None:
    assert (await world.http.get("/ready", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "me@localhost",
        "localhost:",
        "localhost:99999",
        "local host",
        "localhost,evil.example",
        "::1",
        "evil.example/v1/messages",
        "[",
        "[]",
        "[::1",
        "]",
        "\x7f",
        "\u00e9.example",
    ],
)
async def test_a_malformed_host_is_a_bad_request(world: World, host: str) -> None:
    response = await world.http.get("/ready", headers=[(b"Host", host.encode("latin-1"))])

    assert response.status_code == 400
    assert error_of(response)["param"] == "Host"


@pytest.mark.parametrize("hosts", [[], ["localhost", "localhost"], ["localhost", "evil.example"]])
async def test_a_missing_or_repeated_host_is_a_bad_request(world: World, hosts: list[str]) -> None:
    request = world.http.build_request("GET", "/ready")
    request.headers = httpx.Headers([("Host", host) for host in hosts])

    response = await world.http.send(request)

    assert response.status_code == 400
    assert f"got {len(hosts)}" in error_of(response)["message"]


@pytest.mark.parametrize("host", ["evil.example", "192.168.0.7:8080", "[fe80::1]:8080", "0.0.0.0:8080"])
async def test_a_service_on_loopback_has_no_other_names(world: World, host: str) -> None:
    assert (await world.http.get("/ready", headers={"Host": host})).status_code == 421


def test_a_service_on_the_network_may_be_called_by_any_address_but_by_no_foreign_name() -> None:
    hosts = Hosts("0.0.0.0", frozenset())

    assert all(hosts.allow(host) for host in ("172.18.0.3", "0.0.0.0", "fd00::1", "127.0.0.1", "localhost"))
    assert not any(hosts.allow(host) for host in ("evil.example", "router", "127.evil.example"))


def test_the_name_it_listens_on_is_allowed() -> None:
    assert Hosts("router.lan", frozenset()).allow("router.lan")
    assert not Hosts("router.lan", frozenset()).allow("evil.lan")


def test_a_star_stands_for_every_name_below() -> None:
    hosts = Hosts("127.0.0.1", frozenset({"*.example.com", "router"}))

    assert all(hosts.allow(host) for host in ("a.example.com", "a.b.example.com", "router"))
    refused = ("example.com", "evilexample.com", "a.example.com.evil", "a.router", "com", "10.0.0.1")
    assert not any(hosts.allow(host) for host in refused)


def test_the_names_are_read_in_one_spelling() -> None:
    settings = load_settings(
        None, {"ALLOWED_HOSTS": "Router.Example., *.EXAMPLE.com, fd00:0::1,[::2], 10.0.0.1"}
    )

    expected = ("router.example", "*.example.com", "fd00::1", "::2", "10.0.0.1")
    assert settings.allowed_hosts == expected


@pytest.mark.parametrize(
    "value", ["*", "router:8080", "http://router", "127.1", "*.*.example", "a b", "me@router", "*."]
)
def test_what_is_no_host_stops_the_start(value: str) -> None:
    with pytest.raises(StartupError, match="ALLOWED_HOSTS"):
        load_settings(None, {"ALLOWED_HOSTS": value})


@pytest.mark.parametrize("value", ["127.evil.example", "127.0.0.1.evil.example", "localhost.evil.example"])
async def test_a_name_that_looks_like_loopback_is_not(value: str, tmp_path: Path) -> None:
    async with opened(tmp_path, host=value) as world:
        response = await world.ask()

    assert response.status_code == 401
