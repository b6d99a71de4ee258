"""What the service learns from implicit signals."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from service.domain.basics import Json
from service.errors import ProviderBroken, ProviderRejected
from service.learning.repeats import MAX_BYTES, MAX_QUESTIONS, AnsweredQuestion, RecentQuestions, words_of
from tests.fakes import ANY, Reply
from tests.service.completion.test_faults import a_call
from tests.service.world import World, arm, opened

TEXT = "How do I reverse a string in Python?"
EMPTY = Reply(words=())


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path) as world:
        yield world


async def signals(world: World, request_id: str) -> list[Json]:
    signals: list[Json] = (await world.record(request_id))["signals"]
    return signals


async def kinds(world: World, request_id: str) -> list[str]:
    return [signal["signal"] for signal in await signals(world, request_id)]


async def test_an_empty_answer_counts_against_its_arm_with_a_small_weight(world: World) -> None:
    world.model_client.will(ANY, EMPTY)

    await world.ask(TEXT, request_id="r1", model="small")

    (signal,) = await signals(world, "r1")
    received_at = signal.pop("received_at")
    assert signal == {"signal": "empty", "model": "small", "weight": 0.1, "counts": True}
    assert received_at == world.clock().isoformat()
    assert float(world.store.sums["default"]["small"].n) == 0.1
    assert [(point.reward, point.weight) for point in world.memory.points.values()] == [(0.0, 0.1)]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_signal_is_detected_streamed_or_not(world: World, stream: bool) -> None:
    world.model_client.will(ANY, Reply(words=("Cut",), finish_reason="length"))

    await world.ask(TEXT, request_id="r1", stream=stream)

    assert await kinds(world, "r1") == ["truncated"]


async def test_a_good_answer_has_no_signal(world: World) -> None:
    await world.ask(TEXT, request_id="r1")

    assert await signals(world, "r1") == []
    assert world.store.events == {}


async def test_the_signal_of_a_failed_call_counts_against_the_arm_that_failed(world: World) -> None:
    refusal = Reply(words=(), message={"refusal": "No."})
    world.model_client.will(ANY, Reply(words=(), error=ProviderBroken("it broke")), refusal)

    await world.ask(TEXT, request_id="r1", stream=True)

    failed, answered = [attempt["model"] for attempt in (await world.record("r1"))["attempts"]]
    assert [(signal["signal"], signal["model"]) for signal in await signals(world, "r1")] == [
        ("provider_error", failed),
        ("refusal", answered),
    ]


async def test_a_rejected_request_does_not_count_against_the_arm(world: World) -> None:
    world.model_client.will(ANY, Reply(error=ProviderRejected("no such tool", status=400)))

    await world.ask(TEXT, request_id="r1")

    assert await signals(world, "r1") == []


async def test_a_rating_replaces_signals_until_it_is_withdrawn(world: World) -> None:
    world.model_client.will(ANY, EMPTY)
    await world.ask(TEXT, request_id="r1", model="small")
    await world.record("r1")

    await world.rate("r1", 1.0)
    rated = await signals(world, "r1")
    with_rating = world.store.sums["default"]["small"]
    await world.http.delete("/feedback/r1")

    assert [signal["counts"] for signal in rated] == [False]
    assert (float(with_rating.n), float(with_rating.reward_sum)) == (1.0, 1.0)
    assert [signal["counts"] for signal in await signals(world, "r1")] == [True]
    assert float(world.store.sums["default"]["small"].n) == 0.1


async def test_a_request_with_learn_off_has_no_signals(world: World) -> None:
    world.model_client.will(ANY, EMPTY)

    await world.ask(TEXT, request_id="r1", router={"learn": False})

    assert await signals(world, "r1") == []


OFF: dict[str, Any] = {
    f"signal_{name}_weight": 0
    for name in ("provider_error", "refusal", "empty", "truncated", "invalid_schema", "reask", "complaint")
}


async def test_signals_that_are_switched_off_are_not_written(tmp_path: Path) -> None:
    async with opened(tmp_path, **OFF) as world:
        world.model_client.will(
            ANY, Reply(error=ProviderBroken("it broke")), EMPTY, Reply(finish_reason="length")
        )

        await world.ask(TEXT)
        await world.ask(TEXT)
        await world.ask(TEXT, response_format={"type": "json_object"})
        await world.background.drain(5.0)

        assert world.store.events == {}


async def test_signals_are_counted_and_without_postgresql_dropped_and_counted(world: World) -> None:
    world.model_client.will(ANY, EMPTY, EMPTY)
    await world.ask(TEXT, request_id="r1", model="small")
    await world.background.drain(5.0)

    world.store.is_down = True
    await world.ask("Something else altogether", request_id="r2", model="small")
    await world.background.drain(5.0)

    text = (await world.http.get("/metrics")).text
    assert 'router_signals_total{signal="empty"} 1.0' in text
    assert "router_signals_dropped_total 1.0" in text


async def test_an_arm_that_answers_nothing_becomes_unlikely_without_any_rating(tmp_path: Path) -> None:
    twins = [arm("one", "0.10"), arm("other", "0.10")]
    async with opened(tmp_path, twins, latency_weight=0, cost_weight=0, breaker_failures=100) as world:
        before = await world.weigh(TEXT)

        for i in range(60):
            world.model_client.will("one", EMPTY)
            await world.ask(f"{TEXT} {i}", model="one")
            await world.background.drain(5.0)

        assert before["one"] == pytest.approx(0.5)
        assert (await world.weigh(TEXT))["one"] < 0.1


# --- repeated questions -----------------------------------------------------------------------------------


async def test_repeating_a_request_counts_against_the_earlier_answer(world: World) -> None:
    await world.ask(TEXT, request_id="r1", model="small")
    world.clock.advance(60)

    await world.ask(TEXT, request_id="r2", model="small")

    await world.background.drain(5.0)
    assert await kinds(world, "r1") == ["reask"]
    assert await kinds(world, "r2") == []


@pytest.mark.parametrize(
    ("options", "expected"), [({}, ["reask"]), ({"router": {"session_id": "s1"}}, ["reask"] * 3)]
)
async def test_a_request_repeated_without_a_session_id_counts_once(
    world: World, options: Json, expected: list[str]
) -> None:
    for i in range(4):
        await world.ask(TEXT, request_id=f"r{i}", model="small", **options)
        await world.background.drain(5.0)
        world.clock.advance(60)

    assert [kind for i in range(4) for kind in await kinds(world, f"r{i}")] == expected


async def test_a_retry_under_the_same_id_is_no_repeat(world: World) -> None:
    await world.ask(TEXT, request_id="r1")
    await world.ask(TEXT, request_id="r1")

    assert await kinds(world, "r1") == []


async def test_the_same_request_after_the_window_is_no_repeat(world: World) -> None:
    await world.ask(TEXT, request_id="r1")
    world.clock.advance(121)

    await world.ask(TEXT, request_id="r2")

    assert await kinds(world, "r1") == []


async def follow_up(world: World, text: str, session_id: str = "s1", role: str = "user") -> None:
    """The second turn of a conversation that began with TEXT."""
    turns = [("user", TEXT), ("assistant", "Hello there."), (role, text)]
    messages = [{"role": role, "content": text} for role, text in turns]
    body = {"messages": messages, "router": {"session_id": session_id}}
    await world.http.post("/v1/chat/completions", json=body)
    await world.background.drain(5.0)


@pytest.mark.parametrize(
    ("text", "session_id", "role", "expected"),
    [
        (TEXT, "s1", "user", ["reask"]),
        ("how do i reverse a string in python?", "s1", "user", ["reask"]),
        ("Thanks, and how do I sort a list?", "s1", "user", []),
        (TEXT, "another", "user", []),
        (TEXT, "s1", "tool", []),
    ],
)
async def test_nearly_the_same_question_in_the_same_session_is_a_repeat(
    world: World, text: str, session_id: str, role: str, expected: list[str]
) -> None:
    await world.ask(TEXT, request_id="r1", router={"session_id": "s1"})
    await world.background.drain(5.0)

    await follow_up(world, text, session_id, role)

    assert await kinds(world, "r1") == expected


async def test_text_of_an_agent_after_a_tool_result_is_no_question(world: World) -> None:
    await world.ask(TEXT, request_id="r1", router={"session_id": "s1"})
    use = {"type": "tool_use", "id": "t", "name": "run", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": "done"}
    reminder = {"type": "text", "text": "<system-reminder>Keep to the plan.</system-reminder>"}
    messages = [
        {"role": "user", "content": TEXT},
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [result, reminder]},
    ]

    body = {"max_tokens": 50, "messages": messages, "router": {"session_id": "s1"}}
    answered = await world.http.post("/v1/messages", json=body)

    assert answered.status_code == 200
    await world.background.drain(5.0)
    assert await kinds(world, "r1") == []


async def test_a_short_question_may_be_repeated(world: World) -> None:
    await world.ask("go on", request_id="r1", router={"session_id": "s1"})
    await world.background.drain(5.0)

    await follow_up(world, "go on")

    assert await kinds(world, "r1") == []


async def test_another_task_in_the_same_context_is_no_repeat(world: World) -> None:
    earlier = "In the parser of the importer, " + "look at each of the many functions in turn; " * 8
    turns = [{"role": "user", "content": earlier}, {"role": "assistant", "content": "Yes."}]
    for i, task in enumerate(("Now write its tests, please", "Now write its docs, please")):
        turns += [{"role": "user", "content": task}]
        body = {"messages": turns, "router": {"session_id": "s1"}}
        await world.http.post("/v1/chat/completions", json=body, headers={"X-Request-ID": f"r{i}"})
        await world.background.drain(5.0)
        turns += [{"role": "assistant", "content": "Done."}]

    assert await kinds(world, "r0") == []


async def test_an_answer_from_the_cache_is_no_repeat(tmp_path: Path) -> None:
    async with opened(tmp_path, cache_enabled=True) as world:
        await world.ask(TEXT, request_id="r1")
        await world.ask(TEXT, request_id="r2")

        assert await kinds(world, "r1") == []


def test_the_number_of_remembered_questions_is_bounded() -> None:
    questions = RecentQuestions(60.0)
    query = a_call().query
    context = np.ones(1, dtype=np.float32)

    for i in range(MAX_QUESTIONS + 1):
        new = replace(query, body_digest=str(i).encode())
        questions.remember(new, AnsweredQuestion(uuid4(), "small", context, new.received_at))

    assert questions.repeated(replace(query, body_digest=b"0"), context, query.received_at) is None
    assert questions.repeated(replace(query, body_digest=b"1"), context, query.received_at) is not None


def test_the_bytes_of_remembered_questions_are_bounded() -> None:
    questions = RecentQuestions(60.0)
    text = " ".join(f"word{number}" for number in range(140))
    query = replace(a_call().query, text=text)
    query = replace(query, turn=replace(query.turn, n_asked_chars=len(text)))

    for i in range(MAX_QUESTIONS):
        new = replace(query, body_digest=str(i).encode())
        context = np.ones(384, dtype=np.float32)
        words = words_of(new)
        questions.remember(new, AnsweredQuestion(uuid4(), "small", context, new.received_at, words))
        assert questions.n_bytes <= MAX_BYTES

    assert len(words) > 100
    newest = replace(query, body_digest=str(MAX_QUESTIONS - 1).encode())
    assert questions.repeated(newest, context, query.received_at) is not None
