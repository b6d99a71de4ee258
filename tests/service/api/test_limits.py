"""Requests that the service rejects before any model is called, and bugs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.types import ASGIApp

from service.api import errors
from service.app import create_app, in_front
from service.errors import RouterError, StartupError
from service.settings.settings import Settings
from tests.service.world import World, error_of, opened

JSON = {"Content-Type": "application/json"}
MEGABYTE = b"x" * 1_000_000


async def thirty_megabytes() -> AsyncIterator[bytes]:
    for _ in range(30):
        yield MEGABYTE


# --- size and format


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/feedback", "/v1/route"])
async def test_an_announced_size_above_the_limit_is_refused(world: World, path: str) -> None:
    response = await world.http.post(
        path, content=thirty_megabytes(), headers={**JSON, "Content-Length": "30000000"}
    )

    assert response.status_code == 413
    assert error_of(response)["code"] == "request_too_large"
    assert "body must have at most 20000000 bytes, got 30000000" in error_of(response)["message"]


async def test_a_size_above_the_limit_that_is_not_announced_is_refused(world: World) -> None:
    response = await world.http.post("/v1/chat/completions", content=thirty_megabytes(), headers=JSON)

    assert response.status_code == 413
    assert "body must have at most 20000000 bytes, got more" in error_of(response)["message"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/route"])
@pytest.mark.parametrize("is_announced", [True, False], ids=["announced", "chunked"])
async def test_the_limit_is_exact(tmp_path: Path, path: str, is_announced: bool) -> None:
    question = b'{"max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}'
    longest = question.ljust(1_000)

    async def sent(body: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(body), 300):
            yield body[start : start + 300]

    async with opened(tmp_path, max_body_bytes=len(longest)) as world:
        answers = [
            await world.http.post(path, content=body if is_announced else sent(body), headers=JSON)
            for body in (longest, longest + b" ")
        ]

    assert [answer.status_code for answer in answers] == [200, 413]


async def test_the_limit_is_the_operators(tmp_path: Path) -> None:
    async with opened(tmp_path, max_body_bytes=1_000) as world:
        refused = await world.ask("x" * 1_000)
        answered = await world.ask("x" * 500)

    assert (refused.status_code, answered.status_code) == (413, 200)


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\xfd", b'{"messages": [{"role": "user", "content": "\xc3\x28"}]}']
)
async def test_invalid_utf_8_is_refused(world: World, content: bytes) -> None:
    response = await world.http.post("/v1/chat/completions", content=content, headers=JSON)

    assert response.status_code == 400
    assert "body must be JSON in UTF-8" in error_of(response)["message"]


@pytest.mark.parametrize("depth", [90, 200, 300, 2_000, 200_000])
async def test_any_depth_of_nesting_is_accepted_or_rejected(world: World, depth: int) -> None:
    tools = b"[" * depth + b"]" * depth
    content = b'{"messages": [{"role": "user", "content": "Hi", "x": ' + tools + b"}]}"

    response = await world.http.post("/v1/chat/completions", content=content, headers=JSON)

    assert response.status_code == (200 if depth < 100 else 400)


# --- paths and methods


async def test_an_unknown_path_is_answered_in_the_envelope(world: World) -> None:
    response = await world.http.post("/nowhere", json={})

    assert response.status_code == 404
    assert error_of(response) == {
        "message": "POST /nowhere: not found",
        "type": "invalid_request_error",
        "param": None,
        "code": "not_found",
    }


async def test_a_wrong_method_is_answered_with_the_allowed_ones(world: World) -> None:
    response = await world.http.get("/v1/chat/completions")

    assert response.status_code == 405
    assert error_of(response)["code"] == "method_not_allowed"
    assert response.headers["Allow"] == "POST"


# --- origins


async def test_an_allowed_page_may_call_and_read_the_routers_headers(tmp_path: Path) -> None:
    async with opened(tmp_path, cors_origins="https://app.example") as world:
        preflight = await world.http.options(
            "/v1/chat/completions",
            headers={"Origin": "https://app.example", "Access-Control-Request-Method": "POST"},
        )
        allowed = await world.ask(headers={"Origin": "https://app.example"})
        foreign = await world.ask(headers={"Origin": "https://evil.example"})

    assert preflight.status_code == allowed.status_code == 200
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert "X-Router-Model" in allowed.headers["Access-Control-Expose-Headers"]
    assert foreign.status_code == 403


# --- bugs


async def test_a_bug_is_answered_without_details(world: World) -> None:
    app = create_app(Settings.model_validate({}), {}, world.parts)

    @app.get("/bug")
    async def bug() -> None:
        raise ValueError("the secret is 42")

    response = await get(in_front(app, world.parts.settings), "/bug")

    assert response.status_code == 500
    assert error_of(response) == {
        "message": "internal error",
        "type": "server_error",
        "param": None,
        "code": "internal_error",
    }


async def test_the_answer_to_a_bug_carries_the_request_id(world: World) -> None:
    world.parts.completion = None  # type: ignore[assignment]  # causes a bug

    response = await world.ask(request_id="r-1")

    assert response.status_code == 500
    assert response.headers["X-Request-ID"] == "r-1"


async def get(app: ASGIApp, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as http:
        return await http.get(path)


def leaves(kind: type[RouterError]) -> list[type[RouterError]]:
    subclasses = kind.__subclasses__()
    return [kind] if not subclasses else [leaf for subclass in subclasses for leaf in leaves(subclass)]


@pytest.mark.parametrize("kind", leaves(RouterError), ids=lambda kind: kind.__name__)
def test_every_error_has_a_status_unless_it_stops_the_start(kind: type[RouterError]) -> None:
    is_mapped = any(ancestor in errors.PROBLEMS for ancestor in kind.__mro__)

    assert is_mapped is not issubclass(kind, StartupError)
