"""Overrides: a request's headers, the environment, the file and the default, in this order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from service.errors import StartupError
from service.settings.load import load_settings
from tests.service.policies.test_rules_over_http import TIERS, WordClassifier
from tests.service.world import ARMS, World, arm, error_of, opened

LOCAL = arm("local", "0.10")
CLAUDE = arm("claude", "1.00", provider="anthropic")
EXPERTS = {"coding": {"description": "writes and repairs programs", "models": ["large"]}}


async def message(world: World, model: str, headers: dict[str, str] | None = None) -> httpx.Response:
    """POST /v1/messages, in Anthropic's dialect."""
    body = {"model": model, "max_tokens": 10, "messages": [{"role": "user", "content": "Hello"}]}
    return await world.http.post("/v1/messages", json=body, headers=headers or {})


async def test_a_model_that_is_forced_for_all_answers_whatever_a_request_names(tmp_path: Path) -> None:
    async with opened(tmp_path, force_model="large") as world:
        chat = await world.ask(model="small", request_id="r")
        anthropic = await message(world, "small")

        record = await world.record("r")
    assert chat.json()["model"] == anthropic.json()["model"] == "large"
    assert (record["decision"], record["overridden_by"]) == ("pinned", ["force_model"])


async def test_the_header_of_a_request_comes_before_the_forced_model(tmp_path: Path) -> None:
    async with opened(tmp_path, force_model="large") as world:
        answer = await world.ask(model="small", headers={"X-Router-Force-Model": "medium"})

    assert answer.json()["model"] == "medium"


async def test_auto_as_the_forced_model_leaves_the_choice_to_the_router(tmp_path: Path) -> None:
    async with opened(tmp_path, force_model="auto") as world:
        await world.ask(model="small", request_id="r")

        record = await world.record("r")
    assert record["requested_model"] is None
    assert len(record["candidates"]) == 3


@pytest.mark.parametrize(
    ("requested", "answered"), [("gpt-4", "large"), ("claude-3-opus", "medium"), ("small", "large")]
)
async def test_the_model_map_replaces_names_patterns_and_ids_of_models(
    tmp_path: Path, requested: str, answered: str
) -> None:
    names = {"claude-3-*": "medium", "gpt-4": "big", "small": "large"}
    async with opened(tmp_path, model_map=names) as world:
        chat = await world.ask(model=requested)
        anthropic = await message(world, requested)

    assert chat.json()["model"] == anthropic.json()["model"] == answered


async def test_an_alias_of_claude_code_may_stand_for_a_tier(tmp_path: Path) -> None:
    tiers = {"simple": ["small", "medium"], "complex": ["large"]}
    settings: dict[str, Any] = {
        "policies": {"tiers": tiers},
        "model_map": {"*haiku*": "simple", "opus": "complex"},
    }
    async with opened(tmp_path, **settings) as world:
        await world.ask(model="claude-haiku-4-5", request_id="h")
        await world.ask(model="opus", request_id="o")

        haiku, opus = await world.record("h"), await world.record("o")
    assert {c["model"] for c in haiku["candidates"]} == {"small", "medium"}
    assert (haiku["tier"], opus["tier"]) == ("simple", "complex")
    assert haiku["overridden_by"] == ["model_map"]


async def test_the_map_in_a_header_comes_before_the_operators(tmp_path: Path) -> None:
    async with opened(tmp_path, model_map={"gpt-4": "large"}) as world:
        answer = await world.ask(model="gpt-4", headers={"X-Router-Model-Map": "gpt-4=small, x=y"})

    assert answer.json()["model"] == "small"


async def test_a_forced_provider_answers_with_its_own_models(tmp_path: Path) -> None:
    async with opened(tmp_path, arms=(*ARMS, CLAUDE), force_backend="anthropic") as world:
        auto = await world.ask(request_id="r")
        named_elsewhere = await world.ask(model="large")
        header = await world.ask(model="large", headers={"X-Backend": "openai"})

        record = await world.record("r")
    assert auto.json()["model"] == named_elsewhere.json()["model"] == "claude"
    assert header.json()["model"] == "large"
    assert record["overridden_by"] == ["force_backend"]
    assert {r["reason"] for r in record["rejected"]} == {"its provider is not anthropic"}


async def test_a_provider_is_named_by_the_address_of_its_server_too(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        answer = await world.ask(headers={"X-Backend": "127.0.0.1:9"})

    assert answer.status_code == 200


async def test_forced_expert_routing_comes_before_the_model_that_a_request_names(tmp_path: Path) -> None:
    expert = WordClassifier("expert", "coding")
    async with opened(tmp_path, policies={"experts": EXPERTS}, classifiers=(expert,)) as world:
        stays = await world.ask("About coding", model="small")
        await world.ask(
            "About coding",
            model="small",
            request_id="r",
            headers={"X-Router-Force-Expert-Routing": "true"},
        )

        record = await world.record("r")
    assert stays.json()["model"] == "small"
    assert (record["model"], record["rule"]) == ("large", "expert:coding")
    assert record["overridden_by"] == ["force_expert_routing"]


@pytest.mark.parametrize(
    ("header", "value", "message_has"),
    [
        ("X-Backend", "nobody", "must be one of 127.0.0.1:9, got 'nobody'"),
        ("X-Backend", "two words", "must be 1 to 128 visible ASCII characters"),
        ("X-Router-Force-Model", "nobody", "model 'nobody' does not exist"),
        ("X-Router-Model-Map", "gpt-4", "must be NAME=MODEL, separated by commas"),
        ("X-Router-Model-Map", "small=nobody", "model 'nobody' does not exist"),
        ("X-Router-Force-Expert-Routing", "perhaps", "must be true or false, got 'perhaps'"),
        ("X-Router-Force-Expert-Routing", "true", "no expert with models is configured"),
    ],
)
async def test_a_bad_header_is_an_error_in_the_dialect_of_the_request(
    world: World, header: str, value: str, message_has: str
) -> None:
    chat = await world.ask(model="small", headers={header: value})
    anthropic = await message(world, "small", {header: value})

    assert error_of(chat)["param"] == header
    assert message_has in error_of(chat)["message"]
    assert anthropic.status_code in (400, 404)
    assert anthropic.json()["type"] == "error"
    assert message_has in anthropic.json()["error"]["message"]


def test_the_environment_comes_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("force_model: small\nmodel_map:\n  gpt-4: small\n")

    settings = load_settings(file, {"FORCE_MODEL": "large", "MODEL_MAP": "gpt-4=large, claude-*=auto"})

    assert settings.force_model == "large"
    assert settings.model_map == {"gpt-4": "large", "claude-*": "auto"}


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"force_model": "nobody"}, "FORCE_MODEL names 'nobody', which is not one of auto, small"),
        ({"model_map": {"gpt-4": "nobody"}}, "model_map.gpt-4 names 'nobody'"),
        ({"force_backend": "nobody"}, "FORCE_BACKEND must be one of 127.0.0.1:9, got 'nobody'"),
        ({"force_expert_routing": True}, "FORCE_EXPERT_ROUTING needs policies.experts"),
    ],
)
async def test_an_override_that_names_nothing_stops_the_start(
    tmp_path: Path, settings: dict[str, Any], fault: str
) -> None:
    with pytest.raises(StartupError, match=fault):
        async with opened(tmp_path, policies={"tiers": TIERS}, **settings):
            pass
