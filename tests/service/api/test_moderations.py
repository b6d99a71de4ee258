"""POST /v1/moderations: passed through to the model that the request names, or a clean 501."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from service.domain.arm import Arm
from service.domain.relayed_model import RelayedModel
from service.errors import ProviderBroken, ProviderRateLimited, ProviderRejected
from tests.service.world import World, error_of, opened

FIRST, SECOND, OTHER = (
    Arm("judge", "openai", name, base_url=f"http://127.0.0.1:{port}/v1")
    for name, port in (("upstream-judge", 9), ("upstream-judge", 10), ("upstream-other", 11))
)
MODELS = (RelayedModel("judge", (FIRST, SECOND), ("omni",)), RelayedModel("other", (OTHER,)))


@pytest.fixture
async def judged(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path, moderation_models=MODELS) as world:
        yield world


async def moderate(
    world: World, given: object = "Hi", path: str = "/v1/moderations", **body: Any
) -> httpx.Response:
    return await world.http.post(path, json={"input": given, **body})


@pytest.mark.parametrize("path", ["/v1/moderations", "/moderations"])
@pytest.mark.parametrize(
    ("names", "model"),
    [
        ({}, "judge"),
        ({"model": None}, "judge"),
        ({"model": "auto"}, "judge"),
        ({"model": "omni"}, "judge"),
        ({"model": "other"}, "other"),
    ],
)
async def test_the_answer_of_the_named_model_or_the_first_comes_back_unchanged(
    judged: World, path: str, names: dict[str, Any], model: str
) -> None:
    response = await moderate(judged, path=path, **names)

    assert response.status_code == 200
    assert response.json() == {"id": "modr-1", "model": f"upstream-{model}", "results": [{"flagged": False}]}
    assert response.headers["X-Router-Model"] == model


@pytest.mark.parametrize(
    "given",
    [
        "Hi",
        ["Hi", "Ho"],
        [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {"url": "https://x"}}],
    ],
)
async def test_every_form_of_input_is_passed_on_as_it_is(judged: World, given: object) -> None:
    await moderate(judged, given)

    assert judged.moderation_client.called == [(FIRST, given)]


async def test_the_next_deployment_of_the_same_model_answers(judged: World) -> None:
    judged.moderation_client.errors = [ProviderBroken("down")]
    answered = await moderate(judged)
    judged.moderation_client.errors = [ProviderBroken("down")] * 2
    failed = await moderate(judged)

    assert answered.status_code == 200
    assert (failed.status_code, error_of(failed)["code"]) == (503, "no_model_answered")
    assert OTHER not in [arm for arm, _ in judged.moderation_client.called]


async def test_refusals_and_limits_are_what_they_are_for_chats(judged: World) -> None:
    judged.moderation_client.errors = [ProviderRejected("no images", status=400, param="input")]
    rejected = await moderate(judged)
    judged.moderation_client.errors = [ProviderRateLimited("wait", status=429, retry_after_s=9)] * 2
    limited = await moderate(judged)

    assert (rejected.status_code, error_of(rejected)["param"]) == (400, "input")
    assert (limited.status_code, limited.headers["Retry-After"]) == (429, "9")


async def test_requests_are_counted(judged: World) -> None:
    await moderate(judged)

    text = (await judged.http.get("/metrics")).text
    assert 'router_relayed_requests_total{model="judge",status="ok",what="moderations"} 1.0' in text


async def test_an_unknown_model_is_not_found(judged: World) -> None:
    response = await moderate(judged, model="large")

    assert (response.status_code, error_of(response)["code"]) == (404, "model_not_found")
    assert "judge, other" in error_of(response)["message"]


@pytest.mark.parametrize(
    "given", [None, 5, [], ["a", 1], ["a", {"type": "text"}], [[1]], [None], ["a"] * 2_049, {"text": "a"}]
)
async def test_a_faulty_input_is_refused(judged: World, given: object) -> None:
    response = await moderate(judged, given)

    assert response.status_code == 400
    assert str(error_of(response)["param"]).startswith("input")
    assert judged.moderation_client.called == []


async def test_without_a_model_the_answer_is_501_and_official_clients_do_not_retry(world: World) -> None:
    n_requests = 0

    async def count(request: httpx.Request) -> None:
        nonlocal n_requests
        n_requests += 1

    world.http.event_hooks["request"].append(count)
    client = AsyncOpenAI(
        base_url="http://127.0.0.1:8080/v1", api_key="any", http_client=world.http, max_retries=2
    )

    with pytest.raises(openai.APIStatusError) as refused:
        await client.moderations.create(input="Hi")

    assert refused.value.status_code == 501
    assert error_of(refused.value.response)["code"] == "endpoint_not_configured"
    assert n_requests == 1
