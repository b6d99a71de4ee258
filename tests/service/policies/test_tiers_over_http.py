"""Tiers: the difficulty of a request chooses one, and a weak answer escalates to the next."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from service.domain.basics import Json
from tests.fakes import ANY, Reply
from tests.service.policies.test_overrides_over_http import message
from tests.service.policies.test_rules_over_http import TIERS, WordClassifier, rule
from tests.service.world import World, events_of, opened, text_of

DIFFICULTY = WordClassifier("difficulty", "simple", "medium", "complex")
UNSURE = Reply(words=("I don't know.",))
REFUSAL = Reply(words=("I'm sorry, but I can't help with that.",))
GOOD = Reply(words=("Forty-", "two."))


@asynccontextmanager
async def tiered(folder: Path, *rules: Json, **knobs: Any) -> AsyncIterator[World]:
    """Simple requests go to `small`; `medium` and `large` are the tiers above it."""
    policies = {"tiers": TIERS, "tier_by_difficulty": True, "rules": rules, **knobs.pop("policies", {})}
    settings = {"escalation": True, "escalation_hold_s": 60.0, **knobs}
    async with opened(folder, policies=policies, classifiers=(DIFFICULTY,), **settings) as world:
        yield world


@pytest.mark.parametrize(
    ("text", "model"), [("simple", "small"), ("a medium one", "medium"), ("complex", "large")]
)
async def test_the_difficulty_chooses_the_tier(tmp_path: Path, text: str, model: str) -> None:
    async with tiered(tmp_path) as world:
        await world.ask(text, request_id="r")

        record = await world.record("r")
    assert (record["model"], record["rule"]) == (model, None)
    assert "by difficulty" in record["rejected"][0]["reason"]


async def test_a_request_of_unknown_difficulty_has_every_model(tmp_path: Path) -> None:
    async with tiered(tmp_path) as world:
        await world.ask("hello", request_id="r")

        assert len((await world.record("r"))["candidates"]) == 3


async def test_a_tier_that_cannot_answer_leaves_the_request_to_the_next(tmp_path: Path) -> None:
    async with tiered(tmp_path) as world:
        await world.ask("simple " + "word " * 4000, request_id="r")  # too long for `small`

        assert (await world.record("r"))["tier"] == "medium"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("weak", "why"), [(UNSURE, "unsure"), (REFUSAL, "refusal"), (Reply(words=()), "empty")]
)
async def test_a_weak_answer_escalates_to_the_next_tier(
    tmp_path: Path, weak: Reply, why: str, stream: bool
) -> None:
    async with tiered(tmp_path) as world:
        world.model_client.will("small", weak)
        world.model_client.will("medium", GOOD)

        answer = await world.ask("simple", request_id="r", stream=stream)
        record = await world.record("r")

    text = text_of(events_of(answer)) if stream else answer.json()["choices"][0]["message"]["content"]
    assert (text, answer.headers["X-Router-Decision"]) == ("Forty-two.", "escalated")
    first, second = record["attempts"]
    assert (first["model"], first["error_message"], second["model"]) == ("small", why, "medium")
    assert record["outcome"]["cost_usd"] == pytest.approx(first["cost_usd"] + second["cost_usd"])


async def test_an_anthropic_client_gets_the_answer_of_the_next_tier(tmp_path: Path) -> None:
    async with tiered(tmp_path, model_map={"haiku": "simple"}) as world:
        world.model_client.will("small", UNSURE)
        world.model_client.will("medium", GOOD)

        answer = await message(world, "haiku")

    assert answer.json()["content"][0]["text"] == "Forty-two."


async def test_weak_answers_escalate_tier_by_tier_to_the_last(tmp_path: Path) -> None:
    async with tiered(tmp_path) as world:
        world.model_client.will("small", UNSURE)
        world.model_client.will("medium", UNSURE)
        world.model_client.will("large", GOOD)

        await world.ask("simple", request_id="r")

        assert [a["model"] for a in (await world.record("r"))["attempts"]] == ["small", "medium", "large"]


async def test_an_unsure_answer_is_no_evidence_against_its_model(tmp_path: Path) -> None:
    async with tiered(tmp_path) as world:
        world.model_client.will("small", UNSURE)

        await world.ask("simple", request_id="r")

        assert (await world.record("r"))["signals"] == []


async def test_escalation_keeps_to_the_cost_cap_of_the_request(tmp_path: Path) -> None:
    async with tiered(tmp_path) as world:
        world.model_client.will("small", UNSURE)

        answer = await world.ask("simple", request_id="r", router={"max_cost_usd": "0.0002"})

        assert len((await world.record("r"))["attempts"]) == 1
    assert answer.json()["choices"][0]["message"]["content"] == "I don't know."


async def test_the_weak_answer_is_returned_if_the_next_tier_fails(tmp_path: Path) -> None:
    async with tiered(tmp_path) as world:
        world.model_client.will(ANY, UNSURE, UNSURE, UNSURE)

        answer = await world.ask("simple")

    assert answer.json()["choices"][0]["message"]["content"] == "I don't know."


async def test_a_rule_that_names_models_keeps_to_them(tmp_path: Path) -> None:
    kept = rule("kept", {"header": {"x-team": "research"}}, models=["small"])
    async with tiered(tmp_path, kept) as world:
        world.model_client.will("small", UNSURE)

        await world.ask("simple", request_id="r", headers={"X-Team": "research"})

        record = await world.record("r")
    assert (record["rule"], len(record["attempts"])) == ("kept", 1)


async def test_a_rule_switches_escalation_on_for_its_requests_alone(tmp_path: Path) -> None:
    careful = rule("careful", {"task": "legal"}, tier="simple", escalate=True)
    async with tiered(tmp_path, careful, escalation=False) as world:
        world.model_client.will("small", UNSURE, UNSURE)

        other = await world.ask("simple")
        legal = await world.ask("simple", router={"task": "legal"})

    assert (other.json()["model"], legal.json()["model"]) == ("small", "medium")


async def test_a_named_model_never_escalates_to_a_tier(tmp_path: Path) -> None:
    async with tiered(tmp_path) as world:
        world.model_client.will("small", UNSURE)

        answer = await world.ask("simple", model="small")

    assert answer.json()["model"] == "small"


async def test_what_a_classifier_costs_is_part_of_the_cost_of_the_request(tmp_path: Path) -> None:
    costly = WordClassifier("intent", "error", cost_usd=Decimal("0.25"))
    async with opened(tmp_path, policies={"tags": ["intent"]}, classifiers=(costly,)) as world:
        answer = await world.ask("An error", request_id="r")

        record = await world.record("r")
        numbers = (await world.http.get("/metrics/r")).json()
    assert float(answer.headers["X-Router-Cost-Usd"]) > 0.25
    assert record["outcome"]["cost_usd"] == numbers["cost_usd"] > 0.25


async def test_a_classifier_that_nothing_needs_is_not_asked(tmp_path: Path) -> None:
    idle = WordClassifier("intent", "error")
    async with opened(tmp_path, classifiers=(idle,)) as world:
        await world.ask("An error")

    assert idle.asked == []
