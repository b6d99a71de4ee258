"""Variants: a model with a prompt of its own, against the real service over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from service.domain.arm import Arm, Price
from service.domain.basics import Json
from service.domain.prompt import Demo, Prompt
from service.domain.query import Native
from service.providers.anthropic import AnthropicClient
from service.providers.clients import ProviderClients
from service.providers.openai_compatible import OpenAICompatibleClient
from tests.service.providers import scripted
from tests.service.providers.scripted import Upstream, answers, completion, event, streams
from tests.service.world import World, opened

SUM: Json = {"task": "sums"}
PROMPT = Prompt("Answer with the number alone.", (Demo("2 + 2", "4"),), task="sums")
MESSAGE: Json = {
    **{"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn"},
    **{"content": [{"type": "text", "text": "4"}], "usage": {"input_tokens": 1, "output_tokens": 2}},
}


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with scripted.serving() as serving:
        serving.script = answers(completion("4"))
        yield serving


@pytest.fixture
async def world(tmp_path: Path, upstream: Upstream) -> AsyncIterator[World]:
    plain = Arm("plain", "openai", "m", base_url=upstream.base_url, price=Price(Decimal(1), Decimal(4)))
    variant = replace(plain, arm_id="terse", aliases=("short",), prompt=PROMPT, variant_of="plain")
    claude = Arm("claude", "anthropic", "m", base_url=upstream.base_url, prompt=replace(PROMPT, task=None))
    async with opened(tmp_path, [plain, variant, claude], store_texts=True) as world:
        model_client = ProviderClients(
            {"openai": OpenAICompatibleClient({}, world.clock)},
            native={"anthropic": AnthropicClient({}, world.clock)},
        )
        world.parts.completion = replace(world.parts.completion, model_client=model_client)
        yield world
        await model_client.close()


def roles(messages: list[Json]) -> list[str]:
    return [f"{message['role']}: {message['content']}" for message in messages]


async def test_a_variant_puts_its_prompt_before_the_request_and_the_log_says_so(
    world: World, upstream: Upstream
) -> None:
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "3 + 4"}]

    response = await world.ask(
        request_id="r", model="terse", router=SUM, messages=messages, headers={"X-Router-Explain": "true"}
    )

    assert response.headers["X-Router-Model"] == "terse"
    assert roles(upstream.bodies[-1]["messages"]) == [
        "system: Answer with the number alone.\n\nBe kind.",  # fitted to the server: one system message
        "user: 2 + 2",
        "assistant: 4",
        "user: 3 + 4",
    ]
    record = await world.record("r")
    assert record["attempts"][0]["notes"] == [f"prompt: {PROMPT.name} before the request"]
    assert record["chosen_model"] == "terse"


async def test_a_stream_of_a_variant_has_its_prompt(world: World, upstream: Upstream) -> None:
    upstream.script = streams(event(scripted.chunk_body("4", finish_reason="stop")), b"data: [DONE]\n\n")

    await world.ask("3 + 4", model="short", stream=True)

    assert len(upstream.bodies[-1]["messages"]) == 4


async def test_a_variant_of_claude_puts_its_prompt_before_a_message_of_its_own_dialect(
    world: World, upstream: Upstream
) -> None:
    upstream.script = answers(MESSAGE)
    cached = {"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}
    body = {
        "model": "claude",
        "max_tokens": 9,
        "system": [cached],
        "messages": [{"role": "user", "content": "3 + 4"}],
    }

    await world.http.post("/v1/messages", json=body)

    sent = upstream.bodies[-1]
    assert sent["system"] == [{"type": "text", "text": "Answer with the number alone."}, cached]
    assert roles(sent["messages"]) == ["user: 2 + 2", "assistant: 4", "user: 3 + 4"]


async def test_a_variant_answers_requests_of_its_task_alone_unless_it_is_named(world: World) -> None:
    assert set(await world.weigh("3 + 4", **SUM)) == {"plain", "terse", "claude"}
    assert set(await world.weigh("3 + 4")) == {"plain", "claude"}
    assert set(await world.weigh("3 + 4", task="poems")) == {"plain", "claude"}
    route = await world.http.post("/v1/route", json={"messages": [{"role": "user", "content": "3 + 4"}]})
    assert route.json()["rejected"] == [{"model": "terse", "reason": "its prompt is for the task sums"}]
    assert (await world.ask("3 + 4", model="short")).status_code == 200


async def test_the_tokens_of_the_prompt_count_in_the_expected_cost(world: World) -> None:
    body = {"messages": [{"role": "user", "content": "3 + 4"}], "router": SUM}
    route = (await world.http.post("/v1/route", json=body)).json()

    usd = {c["model"]: c["expected_cost_usd"] for c in route["candidates"]}
    assert usd["terse"] - usd["plain"] == pytest.approx(PROMPT.n_tokens * 1e-6)


async def test_ratings_of_a_variant_are_evidence_of_its_own(world: World) -> None:
    await world.ask("3 + 4", request_id="r", model="terse", router=SUM)
    await world.rate("r", 1.0)

    models = (await world.http.get("/admin/models")).json()["data"]

    rated = {model["id"]: model["evidence"]["n_rated"] for model in models if model["evidence"]}
    assert rated["terse"] > 0
    assert rated.get("plain", 0) == 0
    shown = next(model for model in models if model["id"] == "terse")
    assert (shown["variant_of"], shown["prompt"]) == ("plain", PROMPT.name)


async def test_a_conversation_stays_on_the_variant_that_it_began_with(
    world: World, upstream: Upstream
) -> None:
    options = {**SUM, "session_id": "s"}
    first = await world.ask("3 + 4", router={**options, "models": ["terse"]})
    history = [
        {"role": "user", "content": "3 + 4"},
        {"role": "assistant", "content": "4"},
        {"role": "user", "content": "And 5?"},
    ]

    second = await world.ask(router=options, messages=history)

    assert first.headers["X-Router-Model"] == second.headers["X-Router-Model"] == "terse"
    assert roles(upstream.bodies[-1]["messages"])[:3] == [
        "system: Answer with the number alone.",
        "user: 2 + 2",
        "assistant: 4",
    ]


async def test_a_variant_can_be_added_at_runtime(world: World, upstream: Upstream) -> None:
    entry = {
        "id": "new",
        "provider": "simulator",
        "model": "sim",
        "price": "free",
        "prompt": {"instructions": "Be brief.", "task": "sums"},
    }

    added = await world.http.post("/admin/models", json=entry)

    assert added.status_code == 201, added.text
    assert "new" in await world.weigh("3 + 4", **SUM)
    assert "new" not in await world.weigh("3 + 4")


def test_a_prompt_without_instructions_leaves_the_system_text_alone() -> None:
    prompt = Prompt(demos=(Demo("a", "b"),))
    native = Native({"system": "Be kind.", "messages": []}, {})

    assert prompt.before_native(native.body)["system"] == "Be kind."
    assert roles(prompt.before({"messages": []})["messages"]) == ["user: a", "assistant: b"]
