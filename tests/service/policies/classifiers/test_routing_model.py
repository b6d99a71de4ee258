"""A model that names experts, played by an HTTP server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.domain.arm import Arm, Price
from service.domain.tags import STAND_IN, Tag
from service.policies.classifiers.expert import Expert, expert_classifier
from service.policies.classifiers.routing_model import RoutingModelClassifier
from service.providers.openai_compatible import OpenAICompatibleClient
from tests.fakes import FakeEncoder
from tests.service.policies.classifiers.queries import query_of
from tests.service.providers.scripted import NOW, Upstream, answers, completion, drop, hang, serving
from tests.service.world import opened

EXPERTS = {"coding": Expert("programs, bugs"), "cooking": Expert("recipes, meals")}
TEXT = "Which recipes have no bugs"


class Clock:
    now = NOW

    def __call__(self) -> datetime:
        return self.now


class Asked:
    """The classifier, its server, and its clock."""

    def __init__(self, upstream: Upstream, classifier: RoutingModelClassifier, clock: Clock) -> None:
        self.upstream = upstream
        self.classifier = classifier
        self.clock = clock

    async def tag(self, text: str = TEXT) -> Tag | None:
        return await self.classifier.tag(query_of(text), await FakeEncoder().encode(text))


@pytest.fixture
async def asked() -> AsyncIterator[Asked]:
    clock = Clock()
    embedding = await expert_classifier(EXPERTS, FakeEncoder())
    async with serving() as upstream:
        url = f"{upstream.base_url}/v1"
        arm = Arm("arch-router", "openai", "arch-router", url, price=Price(Decimal(0), Decimal(0)))
        client = OpenAICompatibleClient({}, clock)
        yield Asked(upstream, RoutingModelClassifier(EXPERTS, client, arm, 0.2, embedding, clock), clock)
        await client.close()


@pytest.mark.parametrize(
    "said",
    ['{"route": "cooking"}', "{'route': 'cooking'}", 'Sure:\n```json\n{"route": "cooking"}\n```', "cooking"],
)
async def test_the_model_names_the_expert(asked: Asked, said: str) -> None:
    asked.upstream.script = answers(completion(said))

    assert await asked.tag() == Tag("expert", "cooking", 1.0, Decimal(0), "arch-router")
    (body,) = asked.upstream.bodies
    assert body["model"] == "arch-router"
    assert '"name": "cooking", "description": "recipes, meals"' in body["messages"][0]["content"]
    assert TEXT in body["messages"][0]["content"]


async def test_other_means_no_expert(asked: Asked) -> None:
    asked.upstream.script = answers(completion('{"route": "other"}'))

    assert await asked.tag() is None


async def test_a_text_is_asked_once(asked: Asked) -> None:
    asked.upstream.script = answers(completion('{"route": "cooking"}'))

    first, again = await asked.tag(), await asked.tag()

    assert first == again
    assert len(asked.upstream.bodies) == 1


@pytest.mark.parametrize("script", [hang, drop, answers({"error": {"message": "no"}}, 500)])
async def test_a_model_that_is_late_or_down_is_replaced_and_rests(asked: Asked, script: object) -> None:
    asked.upstream.script = script  # type: ignore[assignment]

    tag = await asked.tag()
    await asked.tag("Other recipes")

    assert tag is not None
    assert tag.source == STAND_IN
    assert len(asked.upstream.bodies) == 1
    asked.clock.now += timedelta(seconds=10)
    asked.upstream.script = answers(completion('{"route": "coding"}'))
    assert await asked.tag() == Tag("expert", "coding", 1.0, Decimal(0), "arch-router")


async def test_an_answer_that_names_no_expert_is_replaced(asked: Asked) -> None:
    asked.upstream.script = answers(completion('{"route": "poetry"}'))

    with capture_logs() as lines:
        tag = await asked.tag("bugs")

    assert tag is not None
    assert (tag.value, tag.source) == ("coding", STAND_IN)
    assert [(line["event"], line["reason"]) for line in lines] == [
        ("routing_model_failed", "it named no expert")
    ]


async def test_a_long_request_is_shortened(asked: Asked) -> None:
    asked.upstream.script = answers(completion("cooking"))

    await asked.tag("x" * 100_000)

    assert len(asked.upstream.bodies[0]["messages"][0]["content"]) < 8_000


async def test_a_decision_with_the_stand_in_is_degraded(asked: Asked, tmp_path: Path) -> None:
    asked.upstream.script = drop
    policies = {"experts": {name: {"description": e.description} for name, e in EXPERTS.items()}}

    async with opened(tmp_path, policies=policies, classifiers=(asked.classifier,)) as world:
        await world.ask("recipes", request_id="r")
        record = await world.record("r")

    assert record["degraded"] == ["routing_model"]
    assert [(tag["value"], tag["source"]) for tag in record["tags"]] == [("cooking", STAND_IN)]
