"""POST /v1/chat over HTTP: a prompt, and a text with what the router knows about it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.domain.basics import Vector
from service.domain.query import Query
from service.domain.tags import Tag
from service.errors import ProviderBroken
from tests.fakes import ANY, Reply
from tests.service.world import LARGE, SMALL, World, events_of, opened


async def chat(world: World, request_id: str = "p-1", **body: Any) -> httpx.Response:
    return await world.http.post(
        "/v1/chat", json={"prompt": "Say hello.", **body}, headers={"X-Request-ID": request_id}
    )


async def test_a_prompt_gets_a_text_with_its_model_cost_and_time(world: World) -> None:
    response = await chat(world)

    answer = response.json()
    record = await world.record("p-1")
    assert answer == {
        "response": "Hello there.",
        "model_used": record["model"],
        "difficulty_tag": None,
        "cost_usd": record["outcome"]["cost_usd"],
        "latency_ms": float(response.headers["X-Router-Latency-Ms"]),
        "escalated": False,
        "request_id": "p-1",
    }
    assert (record["dialect"], record["outcome"]["status"]) == ("prompt", "ok")


async def test_the_model_gets_the_instructions_and_the_limits(world: World) -> None:
    await chat(world, system="Be brief.", max_tokens=7, temperature=0.5, session_id="tour")

    [(_, body)] = world.model_client.calls
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Say hello."},
    ]
    assert (body["max_tokens"], body["temperature"]) == (7, 0.5)
    assert "session_id" not in body
    assert (await world.record("p-1"))["session_id"] == "tour"


async def test_the_routers_options_apply_and_its_session_id_is_the_surer_one(world: World) -> None:
    options = {"models": ["large"], "explain": True, "session_id": "inner"}

    answer = (await chat(world, session_id="outer", router=options)).json()

    assert answer["model_used"] == "large"
    assert [c["model"] for c in answer["router"]["candidates"]] == ["large"]
    assert (await world.record("p-1"))["session_id"] == "inner"


@pytest.mark.parametrize("stream", [False, True])
async def test_the_difficulty_that_a_classifier_found_is_stated(tmp_path: Path, stream: bool) -> None:
    class Hard:
        name = "difficulty"

        async def tag(self, query: Query, context: Vector | None) -> Tag:
            return Tag(self.name, "complex", 0.9, Decimal(0), "words")

    async with opened(tmp_path, classifiers=(Hard(),), policies={"task": "difficulty"}) as world:
        response = await chat(world, stream=stream)

    assert '"difficulty_tag":"complex"' in response.text


async def test_a_cost_that_nobody_knows_is_null(tmp_path: Path) -> None:
    async with opened(tmp_path, arms=[replace(SMALL, price=None)]) as world:
        response = await chat(world)

    assert response.json()["cost_usd"] is None
    assert "X-Router-Cost-Usd" not in response.headers


async def test_an_answer_of_the_next_model_after_a_weak_one_is_escalated(tmp_path: Path) -> None:
    arms = [replace(SMALL, prior_quality=0.3), replace(LARGE, prior_quality=0.9)]
    sure: dict[str, Any] = {"min_confidence_score": 1.0, "propensity_floor": 0.0, "escalation": True}
    async with opened(tmp_path, arms, **sure) as world:
        world.model_client.will(ANY, Reply(words=()), Reply(words=("Better.",)))

        answer = (await chat(world)).json()

    assert (answer["response"], answer["escalated"]) == ("Better.", True)


async def test_a_stream_has_the_pieces_of_the_text_and_then_what_the_answer_cost(world: World) -> None:
    *events, done = events_of(await chat(world, stream=True))

    *pieces, stated = [event for event in events if isinstance(event, dict)]
    record = await world.record("p-1")
    assert "".join(piece["response"] for piece in pieces) == "Hello there."
    assert all(list(piece) == ["response"] for piece in pieces)
    assert (stated["cost_usd"], stated["request_id"]) == (record["outcome"]["cost_usd"], "p-1")
    assert (stated["model_used"], stated["escalated"]) == (record["model"], False)
    assert stated["latency_ms"] >= 0
    assert done == "[DONE]"


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({"prompt": ""}, "prompt", "prompt: String should have at least 1 character, got ''"),
        ({"prompt": None}, "prompt", "prompt: Input should be a valid string, got None"),
        ({"max_tokens": 0}, "max_tokens", "max_tokens: Input should be greater than or equal to 1, got 0"),
        ({"messages": []}, "messages", "messages: Extra inputs are not permitted, got a list of 0"),
        ({"model": "nobody"}, "model", None),
    ],
)
async def test_a_faulty_field_is_named(
    world: World, body: dict[str, Any], field: str, message: str | None
) -> None:
    response = await chat(world, **body)

    answer = response.json()
    assert response.status_code in {400, 404}
    assert set(answer) == {"error", "field", "code", "request_id"}
    assert (answer["field"], answer["request_id"]) == (field, "p-1")
    assert message is None or answer["error"] == message


async def test_a_failure_of_every_model_has_the_same_form(world: World) -> None:
    world.model_client.will(ANY, *(Reply(error=ProviderBroken("gone", status=500)) for _ in range(9)))

    response = await chat(world)

    assert (response.status_code, response.json()["code"]) == (503, "no_model_answered")
    assert "Retry-After" in response.headers


async def test_paths_below_it_are_still_those_of_chat_completions(world: World) -> None:
    response = await world.http.post("/v1/chat/completions", json={})

    assert response.json()["error"]["param"] == "messages"
