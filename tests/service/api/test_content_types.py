"""Bodies are declared as JSON: a foreign page can send any other without asking first."""

from __future__ import annotations

import httpx
import pytest

from service.dialects.chat.errors import OpenAIErrors
from service.dialects.offered import dialect_of
from tests.service.api.test_hosts import every_route
from tests.service.world import World, error_of

QUESTION = b'{"messages": [{"role": "user", "content": "Hi"}]}'
WRITES = [
    (method, path)
    for method, path in every_route()
    if method in {"POST", "PUT", "PATCH"} and path != "/nowhere"
]


async def post(
    world: World, *content_types: str, path: str = "/v1/chat/completions", body: bytes = QUESTION
) -> httpx.Response:
    headers = [("Content-Type", content_type) for content_type in content_types]
    return await world.http.post(path, content=body, headers=headers)


@pytest.mark.parametrize(("method", "path"), WRITES)
@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded"])
async def test_every_write_refuses_what_a_form_sends(
    world: World, method: str, path: str, content_type: str
) -> None:
    path = path.replace("{model_id:path}", "large")
    response = await world.http.request(
        method, path, content=b'{"state": "retired"}', headers={"Content-Type": content_type}
    )

    assert response.status_code == 415
    dialect = dialect_of(path, {})
    dialect.error_model.model_validate(response.json())
    if isinstance(dialect, OpenAIErrors):
        error = error_of(response)
        assert (error["code"], error["param"]) == ("unsupported_media_type", "Content-Type")
        assert error["message"] == f"Content-Type: must be application/json, got {content_type!r}"
    assert world.parts.catalog.aside == ()


@pytest.mark.parametrize(
    "content_types",
    [
        (),
        ("",),
        ("text/plain; application/json",),
        ("text/plain, application/json",),
        ("text/plain;charset=application/json",),
        ("multipart/form-data; boundary=x",),
        ("application/jsonx",),
        ("application/x+jsonp",),
        ("application/+json",),
        ("*/*",),
        ("application/json", "text/plain"),
        ("text/plain", "application/json"),
    ],
)
async def test_anything_but_json_is_refused(world: World, content_types: tuple[str, ...]) -> None:
    assert (await post(world, *content_types)).status_code == 415


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json ;charset=UTF-8",
        "application/vnd.api+json",
        "application/ld+json; profile=x",
    ],
)
async def test_json_in_every_spelling_is_read(world: World, content_type: str) -> None:
    assert (await post(world, content_type)).status_code == 200


async def test_a_body_of_unknown_length_is_a_body(world: World) -> None:
    async def chunks() -> object:
        yield QUESTION

    response = await world.http.post("/v1/chat/completions", content=chunks())  # type: ignore[arg-type]

    assert response.status_code == 415


async def test_a_request_without_a_body_needs_no_type(world: World) -> None:
    cleared = await world.http.post("/cache/clear")
    withdrawn = await world.http.delete("/feedback/unknown")
    empty = await post(world, "application/x-www-form-urlencoded", path="/cache/clear", body=b"")

    assert (cleared.status_code, withdrawn.status_code, empty.status_code) == (200, 404, 200)


async def test_a_path_that_does_not_exist_is_not_found_whatever_the_type(world: World) -> None:
    assert (await post(world, "multipart/form-data; boundary=x", path="/v1/files")).status_code == 404
