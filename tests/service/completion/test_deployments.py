"""One model at several places: real servers, real HTTP."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from service.arms.configured import arm_of
from service.domain.arm import Arm
from service.domain.basics import Json
from service.providers.clients import build_provider_clients
from service.providers.simulator.simulator import SimulatedClient
from service.settings.models import ModelSettings
from tests.service.providers import scripted
from tests.service.providers.scripted import (
    Upstream,
    answers,
    chunk_body,
    completion,
    drop,
    event,
    refuses,
    streams,
)
from tests.service.world import World, error_of, events_of, opened, text_of

SECRETS = {"EAST_KEY": "sk-east", "WEST_KEY": "sk-west"}
STREAM = (event(chunk_body("Hello")), event(chunk_body(" there.", finish_reason="stop")), b"data: [DONE]\n\n")


@dataclass
class Servers:
    """A world whose model `shared` is at `east` and at `west`, and whose model `other` is elsewhere."""

    world: World
    east: Upstream
    west: Upstream
    other: Upstream

    @property
    def calls(self) -> tuple[int, int]:
        return len(self.east.bodies), len(self.west.bodies)

    async def attempts(self, request_id: str) -> list[tuple[str, str | None, str]]:
        record = await self.world.record(request_id)
        return [(a["model"], a["deployment"], a["status"]) for a in record["attempts"]]

    async def status(self) -> Json:
        models = (await self.world.http.get("/backends/status")).json()["models"]
        model: Json = next(model for model in models if model["model"] == "shared")
        return model


def shared(east: Upstream, west: Upstream, weights: dict[str, float]) -> Arm:
    places = [
        {"name": name, "base_url": server.base_url, "api_key_env": f"{name.upper()}_KEY", "weight": weight}
        for name, server in (("east", east), ("west", west))
        for weight in [weights.get(name, 1.0)]
    ]
    entry = {"id": "shared", "provider": "openai", "model": "gpt", "price": "free", "deployments": places}
    return arm_of(ModelSettings.model_validate(entry))


@pytest.fixture
async def servers(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Servers]:
    weights: dict[str, float] = getattr(request, "param", {})
    async with AsyncExitStack() as stack:
        east, west, elsewhere = [await stack.enter_async_context(scripted.serving()) for _ in range(3)]
        for server in (east, west, elsewhere):
            server.script = answers(completion("Hello there."))
        other = Arm("other", "openai", "other", base_url=elsewhere.base_url)
        arms = [shared(east, west, weights), other]
        knobs: dict[str, Any] = {"min_confidence_score": 1.0, "propensity_floor": 0.0}
        world = await stack.enter_async_context(opened(tmp_path, arms, **knobs))
        clients = build_provider_clients(SECRETS, world.clock, simulator=SimulatedClient())
        stack.push_async_callback(clients.close)
        world.parts.completion = replace(world.parts.completion, model_client=clients)
        yield Servers(world, east, west, elsewhere)


async def test_calls_one_after_the_other_are_spread_evenly(servers: Servers) -> None:
    for _ in range(40):
        await servers.world.ask(model="shared")

    assert servers.calls == (20, 20)


async def test_calls_at_the_same_time_go_to_the_least_busy(servers: Servers) -> None:
    responses = await asyncio.gather(*(servers.world.ask(model="shared") for _ in range(40)))

    assert {response.status_code for response in responses} == {200}
    assert servers.calls == (20, 20)
    assert [place["under_way"] for place in (await servers.status())["deployments"]] == [0, 0]


@pytest.mark.parametrize("servers", [{"east": 3.0}], indirect=True)
async def test_weights_are_parts_of_the_calls(servers: Servers) -> None:
    for _ in range(20):
        await servers.world.ask(model="shared")
    assert servers.calls == (15, 5)

    await asyncio.gather(*(servers.world.ask(model="shared") for _ in range(20)))
    assert servers.calls == (30, 10)


async def test_a_deployment_is_called_with_its_own_key(servers: Servers) -> None:
    for _ in range(4):
        await servers.world.ask(model="shared")

    assert {headers["Authorization"] for headers in servers.east.headers} == {"Bearer sk-east"}
    assert {headers["Authorization"] for headers in servers.west.headers} == {"Bearer sk-west"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
async def test_a_failing_deployment_is_followed_by_the_other_of_the_same_model(
    servers: Servers, stream: bool, dialect: str
) -> None:
    servers.east.script = refuses(500)
    servers.west.script = streams(*STREAM) if stream else answers(completion("Hello there."))
    body = {"model": "shared", "messages": [{"role": "user", "content": "Hi."}], "stream": stream}
    path = "/v1/chat/completions" if dialect == "openai" else "/v1/messages"

    response = await servers.world.http.post(
        path, json={**body, "max_tokens": 100}, headers={"X-Request-ID": "r-1"}
    )

    assert response.status_code == 200
    assert "Hello" in response.text
    assert response.headers["X-Router-Model"] == "shared"
    assert response.headers["X-Router-Decision"] != "fallback"
    assert await servers.attempts("r-1") == [("shared", "east", "failed"), ("shared", "west", "ok")]
    record = await servers.world.record("r-1")
    assert record["signals"] == []  # the model itself did not fail


async def test_when_one_deployment_dies_every_call_is_answered_and_it_is_called_no_more(
    servers: Servers,
) -> None:
    servers.east.script = drop

    sequential = [await servers.world.ask(model="shared") for _ in range(40)]
    concurrent = await asyncio.gather(*(servers.world.ask(model="shared") for _ in range(40)))

    assert {response.status_code for response in (*sequential, *concurrent)} == {200}
    assert Counter(r.headers["X-Router-Model"] for r in sequential) == {"shared": 40}
    assert servers.calls == (3, 80)  # three failures in a row open its circuit breaker
    status = await servers.status()
    assert (status["state"], status["open_reason"]) == ("closed", None)
    assert [place["state"] for place in status["deployments"]] == ["open", "closed"]
    assert status["calls"] == {"failed": 3, "succeeded": 80}


async def test_a_deployment_that_recovers_gets_calls_again(servers: Servers) -> None:
    servers.east.script = refuses(500)
    for _ in range(8):
        await servers.world.ask(model="shared")
    servers.east.script = answers(completion())

    servers.world.clock.advance(31)
    n_before = servers.calls[0]
    for _ in range(10):
        await servers.world.ask(model="shared")

    assert servers.calls[0] - n_before == 5


async def test_a_rate_limit_moves_calls_away_for_as_long_as_it_says(servers: Servers) -> None:
    servers.east.script = refuses(429, headers={"Retry-After": "20"})

    for _ in range(6):
        assert (await servers.world.ask(model="shared")).status_code == 200
    assert servers.calls == (1, 6)

    servers.east.script = answers(completion())
    servers.world.clock.advance(21)
    for _ in range(2):
        await servers.world.ask(model="shared")
    assert servers.calls == (2, 7)


async def test_another_model_is_called_when_no_deployment_answers(servers: Servers) -> None:
    servers.east.script = servers.west.script = refuses(503)

    response = await servers.world.ask(request_id="r-1")

    assert response.headers["X-Router-Model"] == "other"
    assert await servers.attempts("r-1") == [
        ("shared", "east", "failed"),
        ("shared", "west", "failed"),
        ("other", None, "ok"),
    ]


async def test_the_client_is_told_to_wait_for_the_first_deployment_that_is_back(servers: Servers) -> None:
    servers.east.script = refuses(429, headers={"Retry-After": "50"})
    servers.west.script = refuses(429, headers={"Retry-After": "40"})

    first = await servers.world.ask(model="shared")
    second = await servers.world.ask(model="shared")

    assert (first.status_code, second.status_code) == (429, 429)
    assert first.headers["Retry-After"] == second.headers["Retry-After"] == "40"
    assert servers.calls == (1, 1)


async def test_a_request_that_is_rejected_is_not_sent_to_the_other_deployment(servers: Servers) -> None:
    servers.east.script = servers.west.script = refuses(400, "bad value", param="temperature")

    response = await servers.world.ask(model="shared", temperature=0.5)

    assert response.status_code == 400
    assert "bad value" in error_of(response)["message"]
    assert sum(servers.calls) == 1


async def test_a_stream_counts_as_load_until_its_end(servers: Servers) -> None:
    goes_on = asyncio.Event()

    async def pausing(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=scripted.EVENT_STREAM)
        await response.prepare(request)
        await response.write(STREAM[0])
        await goes_on.wait()
        await response.write(STREAM[1] + STREAM[2])
        return response

    servers.east.script = pausing
    streaming = asyncio.create_task(servers.world.ask(model="shared", stream=True))
    await servers.east.call_started.wait()

    assert [place["under_way"] for place in (await servers.status())["deployments"]] == [1, 0]
    for _ in range(3):
        await servers.world.ask(model="shared")
    assert servers.calls == (1, 3)

    goes_on.set()
    assert text_of(events_of(await streaming)) == "Hello there."
    assert [place["under_way"] for place in (await servers.status())["deployments"]] == [0, 0]


async def test_a_conversation_stays_at_its_deployment(servers: Servers) -> None:
    places = []
    messages: list[Json] = [{"role": "user", "content": "What is a bandit?"}]
    for n in range(4):
        body = {"model": "shared", "messages": messages}
        headers = {"X-Request-ID": f"r-{n}"}
        response = await servers.world.http.post("/v1/chat/completions", json=body, headers=headers)
        messages.append(response.json()["choices"][0]["message"])
        messages.append({"role": "user", "content": f"And {n}?"})
        await servers.world.ask("Something else.", model="shared")  # would shift the turns
        places += [deployment for _, deployment, _ in await servers.attempts(f"r-{n}")]

    assert len(places) == 4
    assert len({*places}) == 1


async def test_a_named_session_leaves_a_deployment_that_dies_for_good(servers: Servers) -> None:
    async def place_of(request_id: str) -> str | None:
        await servers.world.ask(model="shared", request_id=request_id, router={"session_id": "s"})
        return (await servers.attempts(request_id))[-1][1]

    assert [await place_of("r-1"), await place_of("r-2")] == ["east", "east"]
    servers.east.script = refuses(500)
    assert [await place_of("r-3"), await place_of("r-4")] == ["west", "west"]
    assert servers.calls == (3, 2)


async def test_a_disconnected_client_ends_the_load(servers: Servers) -> None:
    servers.east.script = servers.west.script = scripted.hang
    asking = asyncio.create_task(servers.world.ask(model="shared"))
    await servers.east.call_started.wait()

    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await servers.world.background.drain(5.0)

    assert [place["under_way"] for place in (await servers.status())["deployments"]] == [0, 0]
