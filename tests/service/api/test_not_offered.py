"""What a client is told where there is nothing: what is offered, or what is wrong with its base URL."""

from __future__ import annotations

from typing import Any

import anthropic
import httpx
import openai
import pytest
from anthropic import AsyncAnthropic
from fastapi.routing import iter_route_contexts
from openai import AsyncOpenAI

from service.app import create_app
from service.dialects.offered import OFFERED
from service.settings.settings import Settings
from tests.service.served import serving
from tests.service.world import World, error_of

VERSION = {"anthropic-version": "2023-06-01"}


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PATCH", "PUT"])
@pytest.mark.parametrize(
    "path",
    [
        "/v1/batches",
        "/v1/batches/batch_1/cancel",
        "/v1/files",
        "/v1/files/file-1/content",
        "/v1/uploads",
        "/v1/audio/speech",
        "/v1/audio/transcriptions",
        "/v1/images/generations",
        "/v1/videos",
        "/v1/assistants",
        "/v1/threads/t/runs",
        "/v1/vector_stores",
        "/v1/fine_tuning/jobs",
        "/v1/realtime/sessions",
        "/v1/evals",
        "/v1/containers",
        "/v1/conversations",
        "/v1/chat/completions/chatcmpl-1",
        "/v1/something_of_next_year",
        "/v1",
        "/files",
        "/audio/speech",
        "/images/edits",
    ],
)
async def test_what_openai_has_and_the_router_has_not_is_refused_with_what_there_is(
    world: World, method: str, path: str
) -> None:
    response = await world.http.request(method, path)

    error = error_of(response)
    assert (response.status_code, error["code"]) == (404, "endpoint_not_offered")
    assert error["message"].startswith(f"{method} {path}: not offered")
    for offered in ("/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/embeddings", "/v1/models"):
        assert offered in error["message"]


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data; boundary=x", "application/jsonl", "text/plain"]
)
async def test_an_upload_is_told_so_whatever_its_type(world: World, content_type: str) -> None:
    response = await world.http.post("/v1/files", content=b"x", headers={"Content-Type": content_type})

    assert (response.status_code, error_of(response)["code"]) == (404, "endpoint_not_offered")


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/messages/batches", {}),
        ("/v1/messages/batches/b/results", {}),
        ("/v1/complete", {}),
        ("/v1/files", VERSION),
        ("/v1/skills", VERSION),
        ("/v1/organizations/users", VERSION),
    ],
)
async def test_what_anthropic_has_and_the_router_has_not_is_refused_in_its_envelope(
    world: World, method: str, path: str, headers: dict[str, str]
) -> None:
    response = await world.http.request(method, path, headers=headers)

    body = response.json()
    assert response.status_code == 404
    assert (body["type"], body["error"]["type"]) == ("error", "not_found_error")
    assert "/v1/messages/count_tokens" in body["error"]["message"]


@pytest.mark.parametrize(
    ("path", "surplus"),
    [
        ("/v1/v1/messages", "/v1"),
        ("/v1/v1/messages/count_tokens", "/v1"),
        ("/v1/messages/v1/messages", "/v1/messages"),
        ("/anthropic/v1/messages", "/anthropic"),
    ],
)
async def test_a_wrong_base_url_of_anthropics_clients_is_named(world: World, path: str, surplus: str) -> None:
    response = await world.http.post(path, json={})

    body = response.json()
    assert (response.status_code, body["error"]["type"]) == (404, "not_found_error")
    assert f"base URL should be without the extra {surplus!r}" in body["error"]["message"]


@pytest.mark.parametrize(
    ("path", "surplus"),
    [
        ("/v1/v1/chat/completions", "/v1"),
        ("/v1/v1/models/gpt-4o", "/v1"),
        ("/api/v1/responses", "/api"),
        ("/v1/chat/completions/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/chat/completions/chat/completions", "/chat/completions"),
        ("/v1/embeddings/embeddings", "/embeddings"),
    ],
)
async def test_a_wrong_base_url_of_openais_clients_is_named(world: World, path: str, surplus: str) -> None:
    response = await world.http.post(path, json={})

    assert (response.status_code, error_of(response)["code"]) == (404, "not_found")
    assert f"base URL should be without the extra {surplus!r}" in error_of(response)["message"]


async def test_the_official_clients_raise_their_own_errors(world: World) -> None:
    async with AsyncOpenAI(
        base_url="http://127.0.0.1:8080/v1", api_key="any", http_client=world.http
    ) as client:
        with pytest.raises(openai.NotFoundError, match="not offered"):
            await client.images.generate(prompt="a cat")
        with pytest.raises(openai.NotFoundError, match="not offered"):
            await client.files.create(file=b"{}", purpose="batch")


async def test_anthropics_client_with_v1_in_its_base_url_learns_what_to_change(world: World) -> None:
    async with (
        serving(world) as port,
        AsyncAnthropic(base_url=f"http://127.0.0.1:{port}/v1", api_key="any") as client,
    ):
        with pytest.raises(anthropic.NotFoundError, match="without the extra '/v1'"):
            await client.messages.create(
                model="auto", max_tokens=9, messages=[{"role": "user", "content": "Hi"}]
            )


@pytest.mark.parametrize("path", ["/nowhere", "/v2/models", "/filesystem", "/v10"])
async def test_any_other_path_is_just_not_found(world: World, path: str) -> None:
    response = await world.http.post(path, json={})

    assert (response.status_code, error_of(response)["code"]) == (404, "not_found")
    assert error_of(response)["message"] == f"POST {path}: not found"


OURS = {"/v1/route", "/v1/stats", "/v1/health", "/v1/messages/chat-template"}


def test_what_is_said_to_be_offered_is_all_that_vendors_clients_call() -> None:
    routes = iter_route_contexts(create_app(Settings.model_validate({}), {}).routes)
    served = {str(route.path) for route in routes}

    assert set(OFFERED) <= served
    plain = {path for path in served if path.startswith("/v1/") and "{" not in path}
    assert plain - OURS <= set(OFFERED)


# --- paths without /v1, and the root


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/models", None),
        ("/models/large", None),
        ("/embeddings", {"model": "embed", "input": "Hi"}),
        ("/completions", {"prompt": "Hi"}),
        ("/responses", {"input": "Hi"}),
    ],
)
async def test_a_path_without_v1_answers_as_with_it(world: World, path: str, body: Any) -> None:
    method = "GET" if body is None else "POST"
    short, full = [await world.http.request(method, at, json=body) for at in (path, f"/v1{path}")]

    assert (short.status_code, full.status_code) == (200, 200)
    assert short.json().keys() == full.json().keys()


async def test_models_without_v1_are_listed_for_anthropics_clients_too(world: World) -> None:
    listed = await world.http.get("/models", headers=VERSION)
    unknown = await world.http.get("/models/nobody", headers=VERSION)

    assert listed.json()["data"][0]["type"] == "model"
    assert unknown.json()["type"] == "error"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_root_answers_clients_that_look_for_a_server(world: World, method: str) -> None:
    response: httpx.Response = await world.http.request(method, "/")

    assert response.status_code == 200
    assert (response.text == "") == (method == "HEAD")
