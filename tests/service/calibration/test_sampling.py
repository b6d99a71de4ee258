"""Prompts from the log cover its traffic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from service.calibration.grading.comparisons import EXACT
from service.calibration.grading.json_equality import JsonGrader
from service.calibration.prompts import CalibrationPrompt
from service.calibration.sampling import LogSampler, gradable
from service.domain.basics import Json
from service.domain.logged_request import LoggedRequest
from service.errors import BadRequest
from tests.fakes import FakeEncoder

NOW = datetime(2026, 7, 8, tzinfo=UTC)
WEEK_AGO = NOW - timedelta(days=7)
SCHEMA = {"type": "object", "required": ["answer"]}
FORM = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}


@dataclass
class FakeBodies:
    """The stored bodies of a log; `log` adds a request after the others."""

    encoder: FakeEncoder
    requests: list[LoggedRequest] = field(default_factory=list)
    stored: dict[UUID, Json] = field(default_factory=dict)
    asked: list[tuple[str, datetime, datetime]] = field(default_factory=list)

    async def log(
        self,
        text: str,
        *,
        encoder: str | None = "fake",
        task: str | None = None,
        after_s: float = 600.0,
        **body: object,
    ) -> None:
        decided_at = (self.requests[0].decided_at if self.requests else WEEK_AGO) + timedelta(seconds=after_s)
        context = await self.encoder.encode(text) if encoder == "fake" else None
        request = LoggedRequest(uuid4(), decided_at, text.encode(), text, task, encoder, context)
        self.requests.insert(0, request)
        self.stored[request.decision_id] = {"messages": [{"role": "user", "content": text}], **body}

    async def newest(
        self, tenant: str, since: datetime, until: datetime, limit: int
    ) -> Sequence[LoggedRequest]:
        self.asked.append((tenant, since, until))
        return self.requests[:limit]

    async def bodies(self, tenant: str, decision_ids: Sequence[UUID]) -> Mapping[UUID, Json]:
        return {one: self.stored[one] for one in decision_ids if one in self.stored}


@pytest.fixture
def bodies() -> FakeBodies:
    return FakeBodies(FakeEncoder())


async def sample(bodies: FakeBodies, n: int, **options: int) -> list[CalibrationPrompt]:
    sampler = LogSampler(bodies, bodies.encoder, stores_texts=True)
    return await sampler.sample("acme", WEEK_AGO, NOW, n, **options)


def weights(prompts: Sequence[CalibrationPrompt]) -> dict[str, float]:
    return {prompt.text: prompt.weight for prompt in prompts}


async def test_a_prompt_stands_for_its_kind_of_request(bodies: FakeBodies) -> None:
    for n in range(6):
        await bodies.log(f"translate this sentence into french please {n}")
    for n in range(3):
        await bodies.log(f"prove the lemma about primes {n}")
    await bodies.log("haiku")

    prompts = await sample(bodies, 3)

    assert [prompt.text.split()[0] for prompt in prompts] == ["translate", "prove", "haiku"]
    assert [prompt.weight for prompt in prompts] == pytest.approx([0.6, 0.3, 0.1])


async def test_a_small_log_is_taken_whole(bodies: FakeBodies) -> None:
    for text in ("one", "two", "three"):
        await bodies.log(text)

    assert weights(await sample(bodies, 100)) == pytest.approx({"one": 1 / 3, "two": 1 / 3, "three": 1 / 3})


async def test_equal_requests_are_one_prompt_with_the_weight_of_all(bodies: FakeBodies) -> None:
    for text in ("common", "rare", "common", "common"):
        await bodies.log(text)

    assert weights(await sample(bodies, 100)) == pytest.approx({"common": 0.75, "rare": 0.25})


async def test_a_request_sent_again_soon_after_counts_once(bodies: FakeBodies) -> None:
    for text, after_s in (("a", 600), ("b", 600), ("b", 30), ("b", 30), ("b", 600)):
        await bodies.log(text, after_s=after_s)

    assert weights(await sample(bodies, 100)) == pytest.approx({"a": 1 / 3, "b": 2 / 3})


async def test_a_prompt_keeps_the_fields_of_its_request_but_not_those_of_its_transport(
    bodies: FakeBodies,
) -> None:
    tools = [{"type": "function", "function": {"name": "look_up"}}]
    about: dict[str, Any] = {
        "tools": tools,
        "temperature": 0.0,
        "max_tokens": 5,
        "response_format": {"type": "json_object"},
    }
    await bodies.log(
        "a", task="triage", model="big", stream=True, user="u1", n=3, metadata={"a": "b"}, **about
    )

    [prompt] = await sample(bodies, 1)

    assert prompt.body == {"messages": [{"role": "user", "content": "a"}], **about}
    assert prompt.task == "triage"


async def test_requests_that_differ_only_in_their_transport_are_one_prompt(bodies: FakeBodies) -> None:
    await bodies.log("a", stream=True, encoder=None)
    await bodies.log("a", model="big")

    [prompt] = await sample(bodies, 5)

    assert prompt.weight == pytest.approx(1.0)


async def test_contexts_of_another_encoder_are_made_anew(bodies: FakeBodies) -> None:
    await bodies.log("one two", encoder="minilm")
    await bodies.log("one two")
    await bodies.log("three four", encoder=None)

    assert weights(await sample(bodies, 2)) == pytest.approx({"one two": 2 / 3, "three four": 1 / 3})


async def test_the_same_log_gives_the_same_prompts(bodies: FakeBodies) -> None:
    for n in range(60):
        await bodies.log(f"question {n % 7} about {n % 11} and {n % 13}")

    first, again, other = [await sample(bodies, 10, seed=seed) for seed in (1, 1, 2)]

    assert first == again
    assert len(first) == len(other) == 10
    assert sum(prompt.weight for prompt in first) == pytest.approx(1.0)


async def test_a_body_pruned_meanwhile_leaves_its_weight_to_the_others(bodies: FakeBodies) -> None:
    for text in ("one", "two", "three"):
        await bodies.log(text)
    del bodies.stored[bodies.requests[0].decision_id]

    assert weights(await sample(bodies, 3)) == pytest.approx({"one": 0.5, "two": 0.5})


async def test_a_request_that_the_router_does_not_accept_any_more_is_left_out(bodies: FakeBodies) -> None:
    await bodies.log("one", temperature="hot")
    await bodies.log("two")

    assert weights(await sample(bodies, 3)) == pytest.approx({"two": 1.0})


async def test_a_log_of_requests_that_cannot_be_asked_again_is_as_one_without(bodies: FakeBodies) -> None:
    await bodies.log("one", temperature="hot")
    await bodies.log("two")
    del bodies.stored[bodies.requests[0].decision_id]

    with pytest.raises(BadRequest, match="has a stored body"):
        await sample(bodies, 3)


async def test_the_range_and_the_tenant_are_those_asked_for(bodies: FakeBodies) -> None:
    await bodies.log("one")

    await sample(bodies, 1)

    assert bodies.asked == [("acme", WEEK_AGO, NOW)]


@pytest.mark.parametrize(
    ("stores_texts", "why"), [(False, "STORE_TEXTS is off"), (True, "STORE_TEXTS is on")]
)
async def test_a_log_without_bodies_names_the_setting(
    bodies: FakeBodies, stores_texts: bool, why: str
) -> None:
    sampler = LogSampler(bodies, bodies.encoder, stores_texts=stores_texts)

    with pytest.raises(BadRequest, match=f"from_log: no request of tenant 'acme' .* {why}") as refused:
        await sampler.sample("acme", WEEK_AGO, NOW, 5)

    assert refused.value.param == "from_log"


async def test_requests_that_cannot_be_graded_leave_their_weight_to_the_others(bodies: FakeBodies) -> None:
    await bodies.log("one", response_format={"type": "json_object"})
    await bodies.log("two", response_format=FORM)
    await bodies.log("three", response_format=FORM)

    prompts = gradable(await sample(bodies, 3), JsonGrader())

    assert weights(prompts) == pytest.approx({"two": 0.5, "three": 0.5})


async def test_a_grader_that_can_grade_no_request_of_the_log_is_named(bodies: FakeBodies) -> None:
    await bodies.log("one")

    with pytest.raises(BadRequest, match="grader: cannot grade requests of the log: expected: is required"):
        gradable(await sample(bodies, 3), EXACT)
