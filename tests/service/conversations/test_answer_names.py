"""A conversation without a session id continues only if the router gave its newest answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from service.conversations.answer_names import names_of_answer, possible_names
from service.domain.basics import Json
from service.domain.conversation import Place
from service.errors import ProviderBroken
from tests.fakes import ANY, Reply
from tests.service.world import World, arm, opened

BY_CHANCE: dict[str, Any] = {
    "exploration_rate": 0.5,
    "feedback_weight": 1.0,
    "latency_weight": 0.0,
    "cost_weight": 0.0,
}
PLACE = Place(b"opening", b"asked", b"earlier")
SYSTEM: Json = {"role": "system", "content": "Answer in the style of the examples."}
LONG = "The capital of Italy is Rome, on the Tiber. " * 10


def user(text: str) -> Json:
    return {"role": "user", "content": text}


def assistant(content: object, **more: object) -> Json:
    return {"role": "assistant", "content": content, **more}


def call(call_id: str, name: str = "read", arguments: str = '{"path": "a.py", "lines": [1, 2]}') -> Json:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(call_id: str) -> Json:
    return {"role": "tool", "tool_call_id": call_id, "content": "1 def f(): pass"}


SHOTS = [user("What is the capital of Italy?"), assistant("Rome"), user("2+2?"), assistant("4")]


async def post(world: World, messages: Sequence[Json], **body: Any) -> httpx.Response:
    response = await world.http.post("/v1/chat/completions", json={"messages": messages, **body})
    world.clock.advance(1.0)
    assert response.status_code == 200, response.text
    return response


async def turn(world: World, response: httpx.Response) -> int:
    """The number of the request in its conversation."""
    number: int = (await world.record(response.headers["x-request-id"]))["conversation"]["turn"]
    return number


# --- few-shot prompts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["4", "Rome", "five"])
async def test_requests_with_the_same_examples_are_drawn_like_others(tmp_path: Path, answer: str) -> None:
    async with opened(tmp_path, **BY_CHANCE) as world:
        world.model_client.will(ANY, *[Reply((answer,))] * 80)
        few, zero = [], []
        for i in range(40):
            few.append(await post(world, [SYSTEM, *SHOTS, user(f"{i}+1?")]))
            zero.append(await post(world, [SYSTEM, user(f"{i}+2?")]))
        turns = [await turn(world, response) for response in few]

    counts = [
        {
            name: [r.headers["x-router-model"] for r in responses].count(name)
            for name in ("small", "medium", "large")
        }
        for responses in (few, zero)
    ]
    assert turns == [1] * 40
    assert {r.headers["x-router-decision"] for r in few} == {r.headers["x-router-decision"] for r in zero}
    assert all(min(count.values()) >= 5 for count in counts), counts


async def test_examples_made_of_the_routers_own_answers_are_no_conversation(world: World) -> None:
    examples: list[Json] = []
    for i in range(3):
        world.model_client.will(ANY, Reply((LONG + str(i),)))
        await post(world, [SYSTEM, user(f"Question {i}")])
        examples += [user(f"Question {i}"), assistant(LONG + str(i))]

    assert await turn(world, await post(world, [SYSTEM, *examples, user("A new question")])) == 1


@pytest.mark.parametrize("answer", ["positive", LONG])
@pytest.mark.parametrize("n_examples", [1, 2, 3])
async def test_a_prompt_that_asks_its_own_last_example_starts_no_conversation(
    world: World, answer: str, n_examples: int
) -> None:
    world.model_client.will(ANY, *[Reply((answer,))] * 9)
    examples = [
        message
        for i in range(n_examples)
        for message in (user(f"Text {i}"), assistant("negative" if i < n_examples - 1 else answer))
    ]
    await post(world, [SYSTEM, *examples, user(f"Text {n_examples - 1}")])

    assert await turn(world, await post(world, [SYSTEM, *examples, user("Another text")])) == 1


async def test_one_answer_is_not_the_start_of_many_conversations(tmp_path: Path) -> None:
    async with opened(tmp_path, **BY_CHANCE) as world:
        example = [user("Question 0"), assistant("Hello there.")]
        await post(world, example[:1])
        answers = [await post(world, [*example, user(f"Question {i}")]) for i in range(1, 41)]
        again = await post(world, [*example, user("Question 2")])
        turns = [await turn(world, answer) for answer in answers]

        assert turns == [2] * 4 + [1] * 36
        assert await turn(world, again) == 2  # the client repeats one that continued it
    assert len({answer.headers["x-router-model"] for answer in answers[4:]}) == 3


async def test_an_example_that_the_router_answered_in_another_place_is_no_conversation(world: World) -> None:
    world.model_client.will(ANY, Reply(("4",)))
    await post(world, [SYSTEM, user("2+2?")])

    assert await turn(world, await post(world, [SYSTEM, *SHOTS, user("5+5?")])) == 1


async def test_tool_calls_that_the_client_made_up_are_no_conversation(world: World) -> None:
    made_up = [user("Hi"), assistant(None, tool_calls=[call("call_1")]), result("call_1")]
    world.model_client.will(ANY, Reply((), message={"tool_calls": [call("call_2", "write")]}))
    await post(world, made_up)

    assert await turn(world, await post(world, made_up)) == 1


# --- what clients make of an answer --------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "brought",
    [
        assistant("Hello there."),
        assistant("  Hello there.\n"),
        assistant([{"type": "text", "text": "Hello"}, {"type": "text", "text": " there."}]),
        assistant("Hello there.", reasoning_content="They greet."),
        assistant("<think>They greet.</think>\n\nHello there."),
        assistant([{"type": "thinking", "thinking": "?"}, {"type": "text", "text": "Hello there."}]),
    ],
    ids=["as sent", "trimmed", "in parts", "with reasoning", "with thinking in the text", "thinking part"],
)
async def test_a_client_brings_the_answer_back_in_its_own_form(
    world: World, brought: Json, stream: bool
) -> None:
    await post(world, [user("Hi")], stream=stream)

    assert await turn(world, await post(world, [user("Hi"), brought, user("And?")])) == 2


@pytest.mark.parametrize("brought", [assistant("Hello here."), assistant(""), assistant(None)])
async def test_another_answer_is_another_conversation(world: World, brought: Json) -> None:
    await post(world, [user("Hi")])

    assert await turn(world, await post(world, [user("Hi"), brought, user("And?")])) == 1


TWO_CALLS = [call("call_a1b2c3d4e5f6g7"), call("functions.read:1", arguments="{}")]
REWRITTEN = '{"lines":[1.0,2],"path":"a.py"}'


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "continued",
    [
        [assistant(None, tool_calls=TWO_CALLS), result(TWO_CALLS[0]["id"]), result(TWO_CALLS[1]["id"])],
        [assistant("I read.", tool_calls=TWO_CALLS), result(TWO_CALLS[1]["id"])],
        [assistant("", tool_calls=TWO_CALLS[:1]), result(TWO_CALLS[0]["id"])],
        [
            assistant(None, tool_calls=TWO_CALLS[:1]),
            result(TWO_CALLS[0]["id"]),
            assistant(None, tool_calls=TWO_CALLS[1:]),
            result(TWO_CALLS[1]["id"]),
        ],
        [
            assistant(None, tool_calls=[call("x1", arguments=REWRITTEN), call("x2", arguments="")]),
            result("x1"),
            result("x2"),
        ],
        [assistant("[called read]"), result(TWO_CALLS[0]["id"])],
        [assistant(None, tool_calls=TWO_CALLS), result(TWO_CALLS[0]["id"]), user("<note>Be quick.</note>")],
        [assistant("I read."), user("Stop.")],
    ],
    ids=[
        "as sent", "with its text", "one call", "one after the other", "new ids", "only results", "a note",
        "calls dropped",
    ],
)  # fmt: skip
async def test_a_tool_loop_continues_by_its_calls(world: World, continued: list[Json], stream: bool) -> None:
    numbered = [{"index": i, **one} for i, one in enumerate(TWO_CALLS)]
    world.model_client.will(ANY, Reply(("I ", "read."), message={"tool_calls": numbered}))
    await post(world, [user("Fix it")], stream=stream)

    assert await turn(world, await post(world, [user("Fix it"), *continued])) == 2


async def test_an_id_drawn_at_random_is_found_after_the_client_rewrote_its_history(world: World) -> None:
    world.model_client.will(ANY, Reply((), message={"tool_calls": TWO_CALLS}))
    await post(world, [SYSTEM, user("Fix it")])
    drawn, counted = ([assistant(None, tool_calls=[one]), result(one["id"])] for one in TWO_CALLS)

    assert await turn(world, await post(world, [user("Summary so far"), *drawn])) == 2
    assert await turn(world, await post(world, [user("Another summary"), *counted])) == 1


async def test_a_long_answer_is_found_under_a_question_that_the_client_rewrote(world: World) -> None:
    first = [user("Hi"), assistant("Hello there."), user("<context>Tiber</context> Which capital?")]
    await post(world, first[:1])
    world.model_client.will(ANY, Reply((LONG,)))
    await post(world, first)
    plain = [*first[:2], user("Which capital?"), assistant(LONG), user("And?")]

    assert await turn(world, await post(world, plain)) == 3


async def test_every_choice_of_an_answer_can_be_continued(world: World) -> None:
    names = [names_of_answer(PLACE, [assistant(text)]) for text in ("One", "Two", "Three")]

    assert len({name for each in names for name in each}) == 3


@pytest.mark.parametrize("brought", ["{", '{"a": 1}'])
async def test_a_started_answer_continues_the_conversation_before_it(world: World, brought: str) -> None:
    history = [user("Hi"), assistant("Hello there."), user("In JSON")]
    await post(world, history[:1])
    world.model_client.will(ANY, Reply(('"a": 1}',)))
    started = await post(world, [*history, assistant("{")])
    complete = await post(world, [*history, assistant('{"a": 1}'), user("And?")])

    assert await turn(world, started) == 2
    assert await turn(world, complete) == 3


# --- cut answers, cached answers, failures -------------------------------------------------------------


@pytest.mark.parametrize("part", ["Hel", "Hello", "Hello there. [Request interrupted by user]"])
async def test_a_client_that_hung_up_continues_with_the_part_it_has(world: World, part: str) -> None:
    world.model_client.will(ANY, Reply(error=ProviderBroken("cut off")))
    await post(world, [user("Hi")], stream=True)

    assert await turn(world, await post(world, [user("Hi"), assistant(part), user("Go on")])) == 2


async def test_an_answer_from_the_cache_continues_the_conversation_of_the_first(tmp_path: Path) -> None:
    knobs: dict[str, Any] = {"cache_enabled": True, "session_ttl_s": 60.0}
    async with opened(tmp_path, **BY_CHANCE, **knobs) as world:
        first = await post(world, [user("Hi")])
        world.clock.advance(50.0)
        cached = await post(world, [user("Hi")])
        world.clock.advance(50.0)
        second = await post(world, [user("Hi"), assistant("Hello there."), user("And?")])
        record = await world.record(second.headers["x-request-id"])

    assert cached.headers["x-router-decision"] == "cache"
    assert record["conversation"]["turn"] == 2
    assert record["conversation"]["previous_model"] == first.headers["x-router-model"]


async def test_a_conversation_continues_on_the_model_that_answered_in_place_of_another(world: World) -> None:
    world.model_client.will("small", Reply(error=ProviderBroken("down")))
    first = await post(world, [user("Hi")], router={"models": ["small", "large"]})
    second = await post(world, [user("Hi"), assistant("Hello there."), user("And?")])
    record = await world.record(second.headers["x-request-id"])

    assert record["conversation"]["previous_model"] == first.headers["x-router-model"]


# --- two clients, replicas, outages --------------------------------------------------------------------


async def test_two_clients_that_open_with_the_same_words_keep_their_own_models(tmp_path: Path) -> None:
    async with opened(tmp_path, session_switch_margin=100.0) as world:
        answers = {"small": "I am small.", "large": "I am large."}
        for name, text in answers.items():
            world.model_client.will(name, Reply((text,)), Reply((f"{text} Still.",)))
            await post(world, [user("Hello")], model=name)
        answering = {}
        for name, text in answers.items():
            loop = [user("Hello"), assistant(text), user("And?")]
            second = await post(world, loop)
            third = await post(world, [*loop, assistant(f"{text} Still."), user("And now?")])
            answering[name] = [second.headers["x-router-model"], third.headers["x-router-model"]]
            assert [await turn(world, second), await turn(world, third)] == [2, 3]

    assert answering == {"small": ["small"] * 2, "large": ["large"] * 2}


async def test_tenants_do_not_continue_each_others_conversations() -> None:
    answer = [assistant("Hello there.")]
    another = replace(PLACE, opening=b"of another tenant")

    assert not set(names_of_answer(PLACE, answer)) & set(possible_names(another, answer))


async def test_another_replica_continues_a_conversation_by_its_answer(tmp_path: Path) -> None:
    async with (
        opened(tmp_path / "a", **BY_CHANCE) as replica_1,
        opened(tmp_path / "b", store=replica_1.store, **BY_CHANCE) as replica_2,
    ):
        messages, answering = [user("Hi")], []
        for i in range(8):
            world = (replica_1, replica_2)[i % 2]
            answering.append((await post(world, messages)).headers["x-router-model"])
            replica_1.clock.now = replica_2.clock.now = max(replica_1.clock.now, replica_2.clock.now)
            messages += [assistant("Hello there."), user(f"Turn {i}")]

    assert len(set(answering)) == 1


async def test_without_postgresql_a_conversation_continues_and_is_spooled(world: World) -> None:
    world.store.is_down = True
    first = await post(world, [user("Hi")])
    world.store.is_down = False
    await world.parts.journal.drain()
    stored = {state.arm_id for state in world.store.conversation_states.values()}
    world.store.is_down = True
    second = await post(world, [user("Hi"), assistant("Hello there."), user("And?")])
    world.store.is_down = False
    await world.parts.journal.drain()

    assert stored == {first.headers["x-router-model"]}
    assert "store" in second.headers["x-router-degraded"]
    assert await turn(world, second) == 2


async def test_a_state_that_an_earlier_version_keyed_by_the_first_message_is_read(world: World) -> None:
    await post(world, [user("Hi")])
    state = next(iter(world.store.conversation_states.values()))
    world.store.conversation_states.clear()
    world.parts.router.affinity._local.clear()
    first = next(iter(world.store.decisions.values()))
    assert first.query.turn.place is not None
    world.store.conversation_states["default", first.query.turn.place.opening] = replace(state, turns=4)

    assert await turn(world, await post(world, [user("Hi"), assistant("Any."), user("And?")])) == 5
    assert await turn(world, await post(world, [user("Hi")])) == 1


# --- Anthropic's dialect -------------------------------------------------------------------------------


async def test_an_answer_in_anthropics_form_continues_its_conversation(tmp_path: Path) -> None:
    kimi = replace(arm("kimi", "1", 100_000, "tools"))
    async with opened(tmp_path, [kimi]) as world:
        used = {**call("functions.read:0"), "index": 0}
        world.model_client.will(ANY, Reply(("Let me see.",), message={"tool_calls": [used]}))
        body: Json = {
            "max_tokens": 100,
            "tools": [{"name": "read", "input_schema": {"type": "object"}}],
            "messages": [user("Fix it")],
        }
        first = await world.http.post("/v1/messages", json=body)
        content = first.json()["content"]
        tool_use = next(block for block in content if block["type"] == "tool_use")
        body["messages"] += [
            {"role": "assistant", "content": content},
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": tool_use["id"], "content": "1"}],
            },
        ]
        world.clock.advance(1.0)
        second = await world.http.post("/v1/messages", json=body)
        record = await world.record(second.headers["x-request-id"])

    assert tool_use["id"] != "functions.read:0"
    assert (record["decision"], record["conversation"]["turn"]) == ("sticky", 2)


# --- the names themselves ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    ["{not json", '{"a": ' * 400, '"' + "\ud800" + '"', '{"n": 1e300}', "[" * 2_000, "null", " "],
)
def test_any_arguments_give_names(arguments: str) -> None:
    names = names_of_answer(PLACE, [assistant(None, tool_calls=[call("", arguments=arguments)])])
    again = possible_names(PLACE, [assistant(None, tool_calls=[call("", arguments=f" {arguments}\n")])])

    assert len(names) == 1
    assert set(names) <= set(again)


@pytest.mark.parametrize("calls", [None, {}, [None], ["x"], [{"function": None}], [{"id": 3}]])
def test_calls_of_any_form_are_read(calls: object) -> None:
    assert len(possible_names(PLACE, [assistant(None, tool_calls=calls)])) in {1, 2}


def test_many_calls_give_few_names() -> None:
    calls = [call(f"call_{i:012d}") for i in range(1_000)]

    assert len(names_of_answer(PLACE, [assistant(None, tool_calls=calls)])) < 20


def test_the_same_words_in_another_order_are_another_call() -> None:
    one = names_of_answer(
        PLACE, [assistant(None, tool_calls=[call("", arguments=orjson.dumps([1, 2]).decode())])]
    )
    two = names_of_answer(
        PLACE, [assistant(None, tool_calls=[call("", arguments=orjson.dumps([2, 1]).decode())])]
    )

    assert not set(one) & set(two)
