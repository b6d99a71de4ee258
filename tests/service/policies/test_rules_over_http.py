"""Rules, tiers and tags as clients of the service see them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from service.domain.basics import Vector
from service.domain.query import Query
from service.domain.tags import Tag
from tests.service.world import World, error_of, opened

TIERS = {"simple": ["small"], "medium": ["medium"], "complex": ["large"]}


class WordClassifier:
    """A classifier that finds its value in the text of the query."""

    def __init__(self, name: str, *values: str, cost_usd: Decimal | None = Decimal(0)) -> None:
        self.name = name
        self.asked: list[str] = []
        self._values = values
        self._cost_usd = cost_usd

    async def tag(self, query: Query, context: Vector | None) -> Tag | None:
        self.asked.append(query.text)
        value = next((value for value in self._values if value in query.text), None)
        return None if value is None else Tag(self.name, value, 0.9, self._cost_usd, "words")


INTENT = WordClassifier("intent", "error", "test")


def rule(name: str, when: dict[str, Any], **effect: Any) -> dict[str, Any]:
    return {"name": name, "when": when, **effect}


@pytest.fixture
async def ruled(tmp_path: Path) -> AsyncIterator[World]:
    policies = {
        "tiers": TIERS,
        "rules": [
            rule("errors", {"intent": "error"}, models=["big"]),
            rule("research", {"header": {"X-Team": "research"}}, min_tier="medium"),
            rule("long", {"tokens_over": 1000}, tier="complex"),
        ],
        "task": "intent",
    }
    async with opened(tmp_path, policies=policies, classifiers=(INTENT,)) as world:
        yield world


async def test_a_rule_by_tag_narrows_the_choice_and_the_record_names_it(ruled: World) -> None:
    answer = await ruled.ask("An error in line 3", request_id="r")

    record = await ruled.record("r")
    assert answer.json()["model"] == "large"
    assert (record["rule"], record["tier"], record["task"]) == ("errors", "complex", "intent:error")
    assert record["tags"] == [
        {"name": "intent", "value": "error", "confidence": 0.9, "cost_usd": 0.0, "source": "words"}
    ]
    assert {r["model"]: r["reason"] for r in record["rejected"]} == {
        "small": "rule errors",
        "medium": "rule errors",
    }


async def test_the_first_matching_rule_counts(ruled: World) -> None:
    await ruled.ask("An error", request_id="r", headers={"X-Team": "research"})

    assert (await ruled.record("r"))["rule"] == "errors"


async def test_a_rule_by_header_leaves_the_tiers_from_its_own_up(ruled: World) -> None:
    await ruled.ask("Hello", request_id="r", headers={"X-Team": "research"})

    record = await ruled.record("r")
    assert {c["model"] for c in record["candidates"]} == {"medium", "large"}


async def test_a_request_that_no_rule_matches_has_every_model(ruled: World) -> None:
    await ruled.ask("Hello", request_id="r", headers={"X-Team": "sales"})

    record = await ruled.record("r")
    assert (record["rule"], record["tags"], record["task"]) == (None, [], None)
    assert len(record["candidates"]) == 3


async def test_a_named_model_stays(ruled: World) -> None:
    answer = await ruled.ask("An error", model="small")

    assert answer.json()["model"] == "small"


async def test_a_clients_own_task_comes_before_the_tag(ruled: World) -> None:
    await ruled.ask("An error", request_id="r", router={"task": "own"})

    assert (await ruled.record("r"))["task"] == "own"


async def test_a_rule_never_widens_what_the_client_allows(ruled: World) -> None:
    answer = await ruled.ask("An error", router={"models": ["small"]})

    assert answer.status_code == 400
    assert "medium: rule errors" in error_of(answer)["message"]
    assert "large: not among router.models" in error_of(answer)["message"]
