"""The memory of what arms cannot do."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from service.arms.refused_features import MAX_OF_ONE_ARM, RefusedFeatures
from service.domain.query import Query
from service.errors import ProviderRejected
from tests.fakes import FixedClock
from tests.service.arms.test_catalog import query
from tests.service.world import MEDIUM, SMALL

WORDS = "reasoning_effort is not supported with this model"


def asking(**fields: object) -> Query:
    return replace(query(), body={**query().body, **fields})


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def memory(clock: FixedClock) -> RefusedFeatures:
    return RefusedFeatures(clock, remember_s=60)


def refuse(memory: RefusedFeatures, asked: Query, words: str = WORDS) -> frozenset[str]:
    return memory.learn(SMALL, asked, ProviderRejected(words, status=400))


def test_a_refused_feature_is_held_against_its_arm_alone(memory: RefusedFeatures) -> None:
    refuse(memory, asking(reasoning_effort="high"))

    assert memory.against([SMALL, MEDIUM], asking(reasoning_effort="low")).keys() == {"small"}
    assert memory.against([SMALL, MEDIUM], asking()) == {}


def test_a_refused_feature_is_forgotten_after_its_time(memory: RefusedFeatures, clock: FixedClock) -> None:
    refuse(memory, asking(reasoning_effort="high"))
    clock.advance(59)
    assert memory.of(SMALL)

    clock.advance(1)

    assert memory.of(SMALL) == ()
    assert memory.against([SMALL], asking(reasoning_effort="high")) == {}


def test_another_refusal_prolongs_the_time_and_keeps_the_beginning(
    memory: RefusedFeatures, clock: FixedClock
) -> None:
    start = clock.now
    refuse(memory, asking(reasoning_effort="high"))
    clock.advance(30)
    refuse(memory, asking(reasoning_effort="high"))

    (refused,) = memory.of(SMALL)

    assert (refused.since, refused.until) == (start, start + timedelta(seconds=90))


def test_an_answer_clears_the_feature(memory: RefusedFeatures) -> None:
    refuse(memory, asking(reasoning_effort="high"))
    memory.accepted(SMALL, asking())
    assert memory.of(SMALL)

    memory.accepted(SMALL, asking(reasoning_effort="high"))

    assert memory.of(SMALL) == ()


def test_one_odd_request_says_nothing_of_what_the_arm_has_just_done(
    memory: RefusedFeatures, clock: FixedClock
) -> None:
    memory.accepted(SMALL, asking(reasoning_effort="high"))

    assert refuse(memory, asking(reasoning_effort="low")) == {"reasoning_effort"}
    assert memory.of(SMALL) == ()
    refuse(memory, asking(reasoning_effort="low"))
    assert [refused.name for refused in memory.of(SMALL)] == ["reasoning_effort"]


def test_what_the_arm_did_long_ago_does_not_excuse_it(memory: RefusedFeatures, clock: FixedClock) -> None:
    memory.accepted(SMALL, asking(reasoning_effort="high"))
    clock.advance(60)

    refuse(memory, asking(reasoning_effort="low"))

    assert memory.of(SMALL)


def test_what_an_arm_has_done_is_bounded(memory: RefusedFeatures, clock: FixedClock) -> None:
    for i in range(3 * MAX_OF_ONE_ARM):
        clock.advance(0.001)
        memory.accepted(SMALL, asking(**{f"field_{i}": 1}))

    assert len(memory._of(SMALL).done) == MAX_OF_ONE_ARM


def test_a_combination_concerns_requests_with_all_of_it(memory: RefusedFeatures) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    refuse(memory, asking(tools=tools, reasoning_effort="high"), "tools with reasoning_effort: not supported")

    assert memory.of(SMALL)[0].name == "reasoning_effort with tools"
    assert memory.against([SMALL], asking(tools=tools)) == {}
    assert memory.against([SMALL], asking(tools=tools, reasoning_effort="low"))


def test_nothing_is_remembered_for_no_time(clock: FixedClock) -> None:
    memory = RefusedFeatures(clock, remember_s=0)

    assert refuse(memory, asking(reasoning_effort="high")) == {"reasoning_effort"}
    assert memory.of(SMALL) == ()


def test_the_memory_is_bounded_and_drops_the_oldest(memory: RefusedFeatures) -> None:
    for i in range(MAX_OF_ONE_ARM + 5):
        refuse(memory, asking(**{f"field_{i}": 1}), f"Unknown parameter: 'field_{i}'")

    refused = [one.name for one in memory.of(SMALL)]

    assert len(refused) == MAX_OF_ONE_ARM
    assert refused[0] == "field_5"


def test_the_provider_s_words_are_kept_without_the_client_s(memory: RefusedFeatures) -> None:
    words = "'seed' is not supported: my boss said \"tell nobody about the merger\""

    refuse(memory, asking(seed=1), words)

    assert memory.of(SMALL)[0].words == "'seed' is not supported: my boss said \"…\""
