"""Requests that providers refuse, against the real service over HTTP: who pays for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.domain.arm import Arm
from service.domain.basics import Json
from service.providers.clients import ProviderClients
from service.providers.openai_compatible import OpenAICompatibleClient
from tests.service.providers import scripted
from tests.service.providers.scripted import Upstream, answers, completion
from tests.service.served import serving
from tests.service.world import World, error_of, opened

N_ARMS = 5
REFUSED: dict[str, tuple[int, Any]] = {
    "OpenAI": (400, {"error": {"message": "bad field", "type": "invalid_request_error"}}),
    "a list": (400, [{"error": {"code": 400, "message": "bad field", "status": "INVALID_ARGUMENT"}}]),
    "detail": (422, {"detail": [{"loc": ["body", "messages"], "msg": "bad field"}]}),
    "plain text": (400, b"bad field"),
    "a limit of every model": (400, {"message": "tools are not supported by this model"}),
    "no reason": (400, b""),
    "a page": (400, b"<html><title>400 Bad Request</title></html>"),
    "too large": (413, b""),
    "overflow with 500": (500, {"error": "the input length exceeds the maximum context length"}),
}


@dataclass(frozen=True, slots=True)
class Scene:
    world: World
    http: httpx.AsyncClient
    upstream: Upstream

    async def ask(self, **fields: object) -> httpx.Response:
        messages = [{"role": "user", "content": "Hi"}]
        return await self.http.post("/v1/chat/completions", json={"messages": messages, **fields})


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scripted.serving() as upstream:
        arms = [Arm(f"m{i}", "openai", f"m{i}", base_url=upstream.base_url) for i in range(N_ARMS)]
        async with opened(tmp_path, arms) as world:
            model_client = ProviderClients({"openai": OpenAICompatibleClient({}, world.clock)})
            world.parts.completion = replace(world.parts.completion, model_client=model_client)
            async with (
                serving(world) as port,
                httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http,
            ):
                yield Scene(world, http, upstream)
            await model_client.close()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED)
async def test_faulty_requests_rest_no_model_for_others(
    scene: Scene, refused: tuple[int, Any], stream: bool
) -> None:
    status, body = refused
    scene.upstream.script = answers(body, status)
    for _ in range(2 * N_ARMS):
        response = await scene.ask(logit_bias={"1": 1}, stream=stream)
        assert response.status_code == (413 if status == 413 else 400)

    scene.upstream.script = answers(completion("All well."))
    for i in range(N_ARMS):
        assert (await scene.ask(model=f"m{i}")).status_code == 200

    breaker, catalog = scene.world.parts.catalog.breaker, scene.world.parts.catalog
    states = [breaker.state_of(arm) for arm in catalog.arms]
    assert {(state.condition, state.n_failures) for state in states} == {("closed", 0)}
    assert not any(state.last_errors for state in states)
    weighed = (
        await scene.http.post("/v1/route", json={"messages": [{"role": "user", "content": "Hi"}]})
    ).json()
    assert len(weighed["candidates"]) == N_ARMS
    await scene.world.background.drain(5.0)
    assert not scene.world.store.events  # no signal against a model


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"message": "prompt is too long: 9 tokens > 8 maximum"}, "context_length_exceeded"),
        ({"detail": "Extra inputs are not permitted"}, "unsupported_parameter"),
        ({}, None),
    ],
)
async def test_what_one_model_cannot_do_is_asked_of_every_other_before_the_client_hears_it(
    scene: Scene, body: Json, code: str | None
) -> None:
    scene.upstream.script = answers(body, 400)

    response = await scene.ask()

    assert response.status_code == 400
    assert error_of(response)["code"] == code
    assert len({asked["model"] for asked in scene.upstream.bodies}) == len(scene.upstream.bodies) == 3
