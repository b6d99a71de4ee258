"""Every route against every kind of key: who has not the right one gets an error, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter
from fastapi.routing import iter_route_contexts

from service.access.key_desk import NewKey
from service.api import feedback, generation, responses
from service.api.scopes import NEEDS
from service.app import create_app, in_front
from service.domain.caller import ALL_SCOPES, Scope
from service.settings.settings import Settings
from tests.service.world import World, opened

NO_KEY, WRONG, REVOKED, EXPIRED = "no key", "a wrong key", "a revoked key", "an expired key"
REFUSED = {401, 403}


def routes() -> Iterator[tuple[str, str]]:
    """The method and the template of every route of the application, those of the framework included."""
    for route in iter_route_contexts(create_app(Settings(), {}).routes):
        for method in sorted(route.methods or {"GET"}):
            yield method, str(route.path)


ROUTES = sorted(set(routes()))


def path_of(template: str) -> str:
    """A path that the router dispatches to this route, and to no other."""
    filled = template
    for name in (
        "request_id:path",
        "model_id:path",
        "model:path",
        "key:path",
        "response_id",
        "calibration_id",
    ):
        filled = filled.replace(f"{{{name}}}", "unknown")
    return f"{filled}/swagger-ui.css" if template == "/static-offline-docs" else filled


def test_every_route_declares_what_it_needs_and_nothing_else_is_declared() -> None:
    declared = {f"{method} {path}" for method, path in ROUTES if method != "HEAD"}

    assert declared == set(NEEDS)
    assert len(declared) > 60


def test_what_is_answered_before_the_framework_is_one_of_its_routes() -> None:
    hot = {*generation.HOT, *responses.HOT, *feedback.HOT}

    assert {("POST", path) for path in hot} <= set(ROUTES)


def test_only_these_routes_are_public() -> None:
    assert {route for route, need in NEEDS.items() if need == "public"} == {
        "GET /ready",
        "GET /health",
        "GET /v1/health",
        "GET /oauth/callback",
    }


async def test_a_route_that_declares_nothing_answers_nobody(world: World) -> None:
    app = create_app(world.parts.settings, {}, world.parts)
    forgotten = APIRouter()

    @forgotten.get("/forgotten")
    async def leak() -> str:
        return "a secret"

    app.include_router(forgotten)
    transport = httpx.ASGITransport(in_front(app, world.parts.settings), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        response = await http.get("/forgotten")

    assert response.status_code == 500
    assert "secret" not in response.text


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path) as world:
        yield world


@pytest.fixture
async def keys(world: World) -> dict[str, dict[str, str]]:
    """The headers of callers: with each scope alone, and those who must not pass."""
    desk, headers = world.parts.key_desk, dict[str, str]()
    for scope in sorted(ALL_SCOPES):
        headers[scope] = (await desk.create(NewKey(scope, "default", frozenset({scope})))).secret
    everything = NewKey(REVOKED.replace(" ", "-"), "default", ALL_SCOPES)
    headers[REVOKED] = (await desk.create(everything)).secret
    await desk.revoke(everything.name)
    ending = NewKey("ending", "default", ALL_SCOPES, None, timedelta(seconds=-1))
    headers[EXPIRED] = (await desk.create(ending)).secret
    headers[WRONG] = "rk-" + "x" * 43
    await world.parts.keyring.refresh()
    return {NO_KEY: {}, **{kind: {"X-Router-Key": key} for kind, key in headers.items()}}


@pytest.mark.parametrize(("method", "template"), ROUTES, ids=lambda part: part)
async def test_only_a_key_with_the_scope_of_the_route_passes(
    world: World, keys: dict[str, dict[str, str]], method: str, template: str
) -> None:
    need: str = NEEDS[f"{method.replace('HEAD', 'GET')} {template}"]
    scopes: dict[str, frozenset[Scope]] = {scope: frozenset({scope}) for scope in ALL_SCOPES}
    found = {
        kind: (await world.http.request(method, path_of(template), headers=headers)).status_code
        for kind, headers in keys.items()
        if not template.startswith("/sse") or kind not in ALL_SCOPES  # its answer does not end
    }

    invalid = {kind for kind in found if kind not in scopes}
    without = {kind for kind in found if kind in scopes and need not in {"any", "public", kind}}
    expected = {kind: 401 for kind in invalid if need != "public"} | dict.fromkeys(without, 403)
    assert {kind: status for kind, status in found.items() if status in REFUSED} == expected
