"""Models that cannot do what a request asks for, against the real service over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from aiohttp import web

from service.domain.arm import Arm
from service.domain.basics import Json
from service.providers.anthropic import AnthropicClient
from service.providers.clients import ProviderClients
from service.providers.litellm import LiteLLMClient
from service.providers.openai_compatible import OpenAICompatibleClient
from tests.service.providers import scripted
from tests.service.providers.scripted import (
    SECRETS,
    Script,
    Upstream,
    answers,
    chunk_body,
    completion,
    event,
    refuses,
    streams,
)
from tests.service.served import serving
from tests.service.world import World, error_of, opened

# LiteLLM loads its parts at their first use, and some of them warn.
pytestmark = pytest.mark.filterwarnings("ignore")
HI: list[Json] = [{"role": "user", "content": "Hi"}]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
PICTURE = [
    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]}
]
WHOLE = answers(completion("All well."))
STREAM = streams(event(chunk_body("All well.", finish_reason="stop")), b"data: [DONE]\n\n")
MESSAGE = answers(
    {
        **{"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn"},
        **{
            "content": [{"type": "text", "text": "All well."}],
            "usage": {"input_tokens": 1, "output_tokens": 2},
        },
    }
)
ASKS: dict[str, tuple[Json, str]] = {
    "a field": ({"presence_penalty": 1}, "presence_penalty: this deployment has no such knob"),
    "a value": ({"service_tier": "flex"}, "The flex tier isn't offered for this model (service_tier)"),
    "an effort": ({"reasoning_effort": "high"}, "Reasoning effort can't be chosen on this model"),
    "tools": ({"tools": TOOLS}, "Function calling has been switched off for this deployment"),
    "images": ({"messages": PICTURE}, "This is a text-only model"),
    "a schema": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}},
        "Structured outputs are unavailable in this region",
    ),
    "an unknown field": ({"logit_bias": {"1": 1}}, "logit_bias - unexpected"),
}  # fmt: skip


def accepting(
    fits: Callable[[Json], bool],
    script: Script,
    words: str = "Reasoning effort can't be chosen on this model",
) -> Script:
    """Refuse the bodies that do not fit."""

    async def answer(request: web.Request) -> web.StreamResponse:
        is_fitting = fits(orjson.loads(await request.read()))
        return await (script if is_fitting else refuses(400, words))(request)

    return answer


@dataclass(frozen=True, slots=True)
class Scene:
    world: World
    http: httpx.AsyncClient
    upstream: Upstream

    async def ask(self, **fields: Any) -> httpx.Response:
        return await self.http.post("/v1/chat/completions", json={"messages": HI, **fields})

    async def refused(self, model: str) -> list[Json]:
        models = (await self.http.get("/backends/status")).json()["models"]
        return next(m["refused_features"] for m in models if m["model"] == model)

    @property
    def called(self) -> list[str]:
        return [body["model"] for body in self.upstream.bodies]


@pytest.fixture(params=["openai"])
async def scene(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    async with scripted.serving() as upstream:
        arms = [Arm(f"m{i}", request.param, f"m{i}", base_url=upstream.base_url) for i in range(3)]
        async with opened(tmp_path, arms) as world:
            model_client = ProviderClients(
                {"openai": OpenAICompatibleClient({}, world.clock)},
                native={"anthropic": AnthropicClient({}, world.clock)},
            )
            world.parts.completion = replace(world.parts.completion, model_client=model_client)
            async with (
                serving(world) as port,
                httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http,
            ):
                yield Scene(world, http, upstream)
            await model_client.close()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("asks", ASKS.values(), ids=ASKS)
async def test_a_model_is_not_asked_again_for_what_it_refused(
    scene: Scene, asks: tuple[Json, str], stream: bool
) -> None:
    fields, words = asks
    scene.upstream.script = STREAM if stream else WHOLE
    scene.upstream.by_model = {"m0": refuses(400, words), "m1": refuses(422, words)}

    responses = [await scene.ask(**fields, stream=stream) for _ in range(12)]

    assert {response.status_code for response in responses} == {200}
    assert sorted(scene.called) == sorted(["m0", "m1"] + ["m2"] * 12)
    route = (await scene.http.post("/v1/route", json={"messages": HI, **fields})).json()
    assert [candidate["model"] for candidate in route["candidates"]] == ["m2"]
    assert {rejected["model"] for rejected in route["rejected"]} == {"m0", "m1"}
    assert all(words in rejected["reason"] for rejected in route["rejected"])
    plain = (await scene.http.post("/v1/route", json={"messages": HI})).json()
    assert len(plain["candidates"]) == 3
    (refused,) = await scene.refused("m0")
    assert refused["reason"] == words
    assert (refused["since"], refused["until"]) == ("2026-11-20T12:00:00+00:00", "2026-11-20T13:00:00+00:00")
    assert await scene.refused("m2") == []


async def test_a_refusal_inside_a_stream_of_status_200_is_one_too(scene: Scene) -> None:
    error = {"error": {"message": "presence_penalty: this deployment has no such knob", "code": 400}}
    scene.upstream.script = STREAM
    scene.upstream.by_model = {"m0": streams(event(error)), "m1": streams(event(error))}

    responses = [await scene.ask(presence_penalty=1, stream=True) for _ in range(6)]

    assert {response.status_code for response in responses} == {200}
    assert sorted(scene.called) == sorted(["m0", "m1"] + ["m2"] * 6)


async def test_a_refused_feature_is_asked_for_again_after_its_time(scene: Scene) -> None:
    scene.upstream.by_model = {"m0": refuses(400, "presence_penalty: not here"), "m1": WHOLE, "m2": WHOLE}
    while not await scene.refused("m0"):
        assert (await scene.ask(presence_penalty=1)).status_code == 200
    scene.upstream.by_model["m0"] = WHOLE

    scene.world.clock.advance(3600)

    assert await scene.refused("m0") == []
    route = (await scene.http.post("/v1/route", json={"messages": HI, "presence_penalty": 1})).json()
    assert len(route["candidates"]) == 3


@pytest.mark.parametrize(
    "words",
    [
        "messages.0.content.0.image: image exceeds 5 MB maximum",
        "Invalid schema for function 'f': [] is not of type 'object', 'boolean'.",
        "Missing required parameter: 'tools[0].function.name'.",
        "No tool call found for tool output with tool_call_id call_9.",
        "presence_penalty: Input should be a valid integer",
    ],
)
async def test_a_request_that_is_faulty_for_every_model_goes_back_at_once(scene: Scene, words: str) -> None:
    scene.upstream.script = refuses(400, words)

    response = await scene.ask(messages=PICTURE, tools=TOOLS, presence_penalty=1)

    assert response.status_code == 400
    assert error_of(response)["message"] == words
    assert len(scene.called) == 1
    assert await scene.refused(scene.called[0]) == []


async def test_the_client_gets_the_refusal_that_names_its_field(scene: Scene) -> None:
    scene.upstream.by_model = {
        "m0": refuses(400, "this model cannot do that"),
        "m1": refuses(400, "presence_penalty is not one of my fields", param="presence_penalty"),
        "m2": answers(b"", 400),
    }
    for _ in range(6):
        response = await scene.ask(presence_penalty=1)

        assert response.status_code == 400
        assert error_of(response)["message"] == "presence_penalty is not one of my fields"
        assert error_of(response)["param"] == "presence_penalty"


async def test_a_feature_that_every_model_refused_is_asked_for_again(scene: Scene) -> None:
    scene.upstream.script = refuses(400, "presence_penalty is not supported")
    assert (await scene.ask(presence_penalty=1)).status_code == 400
    assert all([await scene.refused(f"m{i}") for i in range(3)])

    scene.upstream.by_model = {"m1": WHOLE}  # its server was updated
    response = await scene.ask(presence_penalty=1)

    assert response.status_code == 200
    assert await scene.refused("m1") == []


async def test_a_model_that_refused_is_the_last_resort_when_the_others_fail(scene: Scene) -> None:
    scene.upstream.by_model = {"m0": refuses(400, "presence_penalty: not here"), "m1": WHOLE, "m2": WHOLE}
    while not await scene.refused("m0"):
        assert (await scene.ask(presence_penalty=1)).status_code == 200
    scene.upstream.by_model = {"m0": WHOLE, "m1": refuses(500), "m2": refuses(500)}

    response = await scene.ask(presence_penalty=1)

    assert response.status_code == 200
    assert response.headers["x-router-model"] == "m0"


async def test_a_named_model_is_asked_and_its_refusal_goes_to_the_client(scene: Scene) -> None:
    scene.upstream.script = WHOLE
    scene.upstream.by_model = {"m0": refuses(400, "presence_penalty: not here", param="presence_penalty")}
    for _ in range(2):
        response = await scene.ask(model="m0", presence_penalty=1)
        assert response.status_code == 400
        assert error_of(response)["message"] == "presence_penalty: not here"

    scene.upstream.by_model = {}

    assert scene.called == ["m0", "m0"]
    assert (await scene.ask(model="m0", presence_penalty=1)).status_code == 200


@pytest.mark.parametrize("scene", ["anthropic"], indirect=True)
async def test_thinking_and_effort_find_the_model_that_has_them(scene: Scene) -> None:
    scene.upstream.by_model = {
        "m0": refuses(400, "adaptive thinking is not supported on this model"),
        "m1": refuses(400, "This model does not support the effort parameter."),
        "m2": MESSAGE,
    }
    body = {"model": "auto", "max_tokens": 1000, "messages": HI}
    thinking = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}

    for _ in range(8):
        response = await scene.http.post("/v1/messages", json=body | thinking)
        assert response.status_code == 200
        assert response.headers["x-router-model"] == "m2"

    n_refused = len(scene.called) - 8
    assert n_refused <= 4  # each model once, and once more in another form
    assert scene.called[-6:] == ["m2"] * 6
    assert "thinking=adaptive" in [one["feature"] for one in await scene.refused("m0")]
    assert [one["feature"] for one in await scene.refused("m1")] == ["reasoning_effort"]


AGENT: Json = {
    "model": "auto",
    "max_tokens": 9000,
    "messages": HI,
    "thinking": {"type": "adaptive"},
    "output_config": {"effort": "high"},
}


@pytest.mark.parametrize("scene", ["openai"], indirect=True)
async def test_an_effort_that_only_the_translation_named_is_left_out_if_every_model_refuses_it(
    scene: Scene,
) -> None:
    for name in ("m0", "m1", "m2"):
        scene.upstream.by_model[name] = accepting(lambda body: "reasoning_effort" not in body, WHOLE)
    scene.upstream.script = WHOLE

    first = await scene.http.post("/v1/messages", json=AGENT)
    n_first = len(scene.called)
    second = await scene.http.post("/v1/messages", json=AGENT)

    assert (first.status_code, second.status_code) == (200, 200)
    assert n_first == 4, "each model refuses once, and the last one is asked once more"
    assert len(scene.called) == 5, "what is known is left out at once"
    noted = (await scene.http.get(f"/requests/{second.headers['x-request-id']}")).json()
    assert noted["attempts"][0]["notes"] == ["reasoning_effort: left out (not for this model)"]
    assert (await scene.ask(reasoning_effort="high")).status_code == 400


@pytest.mark.parametrize("scene", ["anthropic"], indirect=True)
async def test_thinking_that_every_model_refuses_is_left_out(scene: Scene) -> None:
    def fits(body: Json) -> bool:
        return not body.keys() & {"thinking", "output_config"}

    for name in ("m0", "m1", "m2"):
        scene.upstream.by_model[name] = accepting(fits, MESSAGE, "adaptive thinking is not supported")

    agent = {name: value for name, value in AGENT.items() if name != "output_config"}
    response = await scene.http.post("/v1/messages", json=agent)

    assert response.status_code == 200
    record = (await scene.http.get(f"/requests/{response.headers['x-request-id']}")).json()
    assert record["attempts"][-1]["notes"] == ["thinking: left out (not for this model)"]


@pytest.fixture
async def with_claude(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    """One OpenAI-compatible model, two Claude models that LiteLLM calls, and so many calls a request."""
    async with scripted.serving() as upstream:
        arms = [Arm("gpt", "openai", "gpt", base_url=upstream.base_url)]
        claude = Arm("", "anthropic", "", base_url=upstream.base_url, api_key_env="UPSTREAM_KEY")
        arms += [replace(claude, arm_id=name, model=name) for name in ("claude-1", "claude-2")]
        async with opened(tmp_path, arms, max_attempts=getattr(request, "param", 1)) as world:
            model_client = ProviderClients(
                {
                    "openai": OpenAICompatibleClient({}, world.clock),
                    "anthropic": LiteLLMClient(SECRETS, world.clock),
                }
            )
            world.parts.completion = replace(world.parts.completion, model_client=model_client)
            async with (
                serving(world) as port,
                httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http,
            ):
                yield Scene(world, http, upstream)
            await model_client.close()


# What the router or LiteLLM knows without a call: an address for the provider to fetch, an unknown field.
REFUSED_BEFORE_THE_CALL: list[Json] = [
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/y.png"}}]}]},
    {"logit_bias": {"1": 1}},
]  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fields", REFUSED_BEFORE_THE_CALL)
async def test_a_refusal_before_the_call_uses_up_no_attempt(
    with_claude: Scene, fields: Json, stream: bool
) -> None:
    with_claude.upstream.script = STREAM if stream else WHOLE

    for _ in range(8):
        response = await with_claude.ask(**fields, stream=stream)
        assert response.status_code == 200

    assert with_claude.called == ["gpt"] * 8
    record = await with_claude.world.record(response.headers["x-request-id"])
    assert [attempt["model"] for attempt in record["attempts"]] == ["gpt"]
    models = (await with_claude.http.get("/backends/status")).json()["models"]
    assert [model["calls"] for model in models] == [{"succeeded": 8}, {}, {}]


@pytest.mark.parametrize("with_claude", [2], indirect=True)
@pytest.mark.parametrize("fields", REFUSED_BEFORE_THE_CALL)
@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        (refuses(429, headers={"Retry-After": "7"}), 429, "rate_limit_exceeded"),
        (refuses(500), 503, "no_model_answered"),
        (refuses(400, "no such presence_penalty", param="presence_penalty"), 400, None),
    ],
)
async def test_a_refusal_before_the_call_hides_no_earlier_error(
    with_claude: Scene, fields: Json, script: Script, status: int, code: str | None
) -> None:
    with_claude.upstream.script = script

    response = await with_claude.ask(**fields)

    assert response.status_code == status
    assert error_of(response)["code"] == code
    if status == 429:
        assert response.headers["Retry-After"] == "7"


@pytest.mark.parametrize("with_claude", [3], indirect=True)
async def test_a_refusal_through_litellm_is_remembered_too(with_claude: Scene) -> None:
    words = "Tool use has been switched off for this model."
    refusal = {"type": "error", "error": {"type": "invalid_request_error", "message": words}}
    with_claude.upstream.script = answers(refusal, 400)
    with_claude.upstream.by_model = {"gpt": WHOLE}

    for _ in range(6):
        assert (await with_claude.ask(tools=TOOLS)).status_code == 200

    refusing = [model for model in with_claude.called if model != "gpt"]
    assert refusing
    assert len(refusing) == len(set(refusing))
    (refused,) = await with_claude.refused(refusing[0])
    assert (refused["feature"], refused["reason"]) == ("tools", words)


async def test_a_request_that_no_adapter_can_send_gets_the_reason(with_claude: Scene) -> None:
    response = await with_claude.ask(model="claude-1", **REFUSED_BEFORE_THE_CALL[0])

    assert response.status_code == 400
    assert error_of(response)["param"] == "messages[0].content"
    assert with_claude.called == []
    record = await with_claude.world.record(response.headers["x-request-id"])
    assert (record["attempts"], record["outcome"]["status"]) == ([], "failed")


async def test_a_real_failure_is_told_though_another_model_refuses(scene: Scene) -> None:
    scene.upstream.by_model = {
        "m0": refuses(429, headers={"Retry-After": "7"}),
        "m1": refuses(400, "presence_penalty: not here"),
        "m2": refuses(400, "presence_penalty is unavailable", param="presence_penalty"),
    }
    response = await scene.ask(presence_penalty=1)

    assert response.status_code == 429
    assert response.headers["Retry-After"] == "7"
