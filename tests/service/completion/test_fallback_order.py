"""The operator's order of models after a failure: real servers, real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from service.arms.fallback_order import FallbackOrder
from service.domain.arm import Arm, Price
from service.domain.basics import Json
from service.providers.clients import build_provider_clients
from service.providers.simulator.simulator import SimulatedClient
from service.settings.faults import FaultySettings
from service.settings.settings import Settings
from tests.service.providers import scripted
from tests.service.providers.scripted import (
    Upstream,
    answers,
    chunk_body,
    completion,
    event,
    refuses,
    streams,
)
from tests.service.world import World, opened

NAMES = ("first", "second", "third", "fourth")
STREAM = (event(chunk_body("Hello", finish_reason="stop")), b"data: [DONE]\n\n")


@dataclass
class Scene:
    world: World
    upstream: Upstream

    async def models(self, request_id: str) -> list[tuple[str, float]]:
        """The models that were called, each with the propensity of its attempt."""
        attempts = (await self.world.record(request_id))["attempts"]
        return [(attempt["model"], attempt["propensity"]) for attempt in attempts]


@asynccontextmanager
async def scene(folder: Path, fallbacks: Json, **knobs: Any) -> AsyncIterator[Scene]:
    """`first` is always decided; without an order the others would be drawn by their probabilities."""
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(scripted.serving())
        upstream.script = answers(completion("Hello"))
        price = Price(Decimal(1), Decimal(1))
        arms = [
            Arm(n, "openai", n, base_url=upstream.base_url, price=price, aliases=(f"my-{n}",)) for n in NAMES
        ]
        all_knobs = {"min_confidence_score": 1.0, "propensity_floor": 0.01, "fallbacks": fallbacks, **knobs}
        world = await stack.enter_async_context(opened(folder, arms, **all_knobs))
        clients = build_provider_clients({}, world.clock, simulator=SimulatedClient())
        stack.push_async_callback(clients.close)
        world.parts.completion = replace(world.parts.completion, model_client=clients)
        yield Scene(world, upstream)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
async def test_after_a_failure_models_are_called_in_the_operators_order(
    tmp_path: Path, stream: bool, path: str
) -> None:
    async with scene(tmp_path, {"first": ["fourth", "my-second"]}) as here:
        here.upstream.by_model = {"first": refuses(500), "fourth": refuses(500)}
        here.upstream.script = streams(*STREAM) if stream else answers(completion("Hello"))
        body = {"model": "first", "messages": [{"role": "user", "content": "Hi."}], "max_tokens": 50}

        response = await here.world.http.post(
            path, json={**body, "stream": stream}, headers={"X-Request-ID": "r-1"}
        )

        assert response.status_code == 200
        assert "Hello" in response.text
        assert response.headers["X-Router-Model"] == "second"
        assert response.headers["X-Router-Decision"] == "fallback"
        assert await here.models("r-1") == [("first", 1.0), ("fourth", 1.0), ("second", 1.0)]


async def test_the_order_replaces_the_draw_and_its_propensities_are_one(tmp_path: Path) -> None:
    async with scene(tmp_path, {"default": ["third"]}) as here:
        here.upstream.by_model = dict.fromkeys(["first", "second", "fourth"], refuses(500))
        for n in range(12):
            await here.world.ask(f"Question {n}", request_id=f"r-{n}")
            here.world.clock.advance(400)

        for n in range(12):
            decided, *others = await here.models(f"r-{n}")
            record = await here.world.record(f"r-{n}")
            assert decided == (record["chosen_model"], record["propensity"])
            assert others == ([] if decided[0] == "third" else [("third", 1.0)])


async def test_after_the_end_of_the_list_the_others_are_drawn(tmp_path: Path) -> None:
    async with scene(tmp_path, {"default": ["second"]}, max_attempts=4) as here:
        here.upstream.by_model = dict.fromkeys(["first", "second"], refuses(500))

        await here.world.ask(request_id="r-1", router={"models": ["first", "second", "third"]})

        models = await here.models("r-1")
        assert [model for model, _ in models][-1] == "third"


async def test_a_model_with_a_list_of_its_own_does_not_use_the_default_list(tmp_path: Path) -> None:
    async with scene(tmp_path, {"first": ["third"], "default": ["fourth"]}) as here:
        here.upstream.by_model = {"first": refuses(500)}

        response = await here.world.ask(model="first")

        assert response.headers["X-Router-Model"] == "third"


async def test_a_client_that_names_a_model_that_cools_down_gets_the_next_of_the_list_at_once(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path, {"first": ["third"]}) as here:
        here.upstream.by_model = {"first": refuses(429, headers={"Retry-After": "60"})}
        await here.world.ask(model="first")
        n_calls = len(here.upstream.bodies)

        response = await here.world.ask(model="first", request_id="r-2")

        assert response.headers["X-Router-Model"] == "third"
        assert len(here.upstream.bodies) == n_calls + 1
        assert await here.models("r-2") == [("third", 1.0)]


async def test_the_clients_limits_hold_for_the_list(tmp_path: Path) -> None:
    async with scene(tmp_path, {"default": ["second", "third"]}) as here:
        here.upstream.by_model = {"first": refuses(500)}

        response = await here.world.ask(model="first", router={"exclude": ["second"]})

        assert response.headers["X-Router-Model"] == "third"


async def test_without_a_list_a_named_model_is_not_replaced(tmp_path: Path) -> None:
    async with scene(tmp_path, {"second": ["third"]}) as here:
        here.upstream.by_model = {"first": refuses(500)}

        response = await here.world.ask(model="first")

        assert response.status_code == 503
        assert {body["model"] for body in here.upstream.bodies} == {"first"}


def test_every_name_that_no_model_in_use_has_is_a_fault() -> None:
    settings = Settings.model_validate({"fallbacks": {"a": ["b", "x"], "y": ["a"], "default": ["z"]}})
    arms = [Arm(name, "openai", name) for name in ("a", "b")]

    with pytest.raises(FaultySettings) as caught:
        FallbackOrder.of(settings, arms, {})

    assert [fault.message for fault in caught.value.faults] == [
        "fallbacks.a names 'x', which is not one of the models in use: a, b",
        "fallbacks.y is the list of a model that is not in use; there are: a, b",
        "fallbacks.default names 'z', which is not one of the models in use: a, b",
    ]
