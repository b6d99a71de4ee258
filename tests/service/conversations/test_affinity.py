"""Conversations keep their model: staying, switching, failures, replicas and outages."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.domain.arm import Price
from service.domain.basics import Json
from service.errors import ProviderBroken, ProviderRateLimited
from tests.fakes import Reply
from tests.service.world import World, arm, opened

ANSWER: Json = {"role": "assistant", "content": "Done."}
CHEAP, DEAR = arm("cheap", "1"), arm("dear", "2")
CACHED = replace(CHEAP, price=Price(Decimal(1), Decimal(4), Decimal("0.1")))
QUALITY: dict[str, Any] = {"feedback_weight": 1.0, "latency_weight": 0.0, "cost_weight": 0.0}
BY_CHANCE: dict[str, Any] = {"exploration_rate": 0.5, **QUALITY}


def user(text: str) -> Json:
    return {"role": "user", "content": text}


def called(tool_id: str) -> list[Json]:
    """A tool that the model called, and its result."""
    call = {"id": tool_id, "type": "function", "function": {"name": "read", "arguments": "{}"}}
    return [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": tool_id, "content": "1"},
    ]


async def post(
    world: World, messages: list[Json], request_id: str, session_id: str | None = "s", **body: Any
) -> httpx.Response:
    """POST a conversation so far."""
    headers = {"X-Request-ID": request_id}
    if session_id is not None:
        headers["X-Router-Session-Id"] = session_id
    response = await world.http.post(
        "/v1/chat/completions", json={"messages": messages, **body}, headers=headers
    )
    world.clock.advance(1.0)
    return response


async def answered_by(
    world: World, messages: list[Json], request_id: str, session_id: str | None = "s", **body: Any
) -> str:
    response = await post(world, messages, request_id, session_id, **body)
    assert response.status_code == 200, response.text
    return response.headers["x-router-model"]


async def rate(world: World, arm_id: str, score: float, n: int = 30) -> None:
    """Rate so many answers of an arm, outside of any conversation, with this score."""
    for i in range(n):
        request_id = f"rated-{arm_id}-{score}-{i}"
        await world.ask("Rate me", request_id=request_id, model=arm_id)
        await world.rate(request_id, score)


async def step(world: World, request_id: str) -> Json:
    conversation: Json = (await world.record(request_id))["conversation"]
    return conversation


# --- staying -------------------------------------------------------------------------------------------


async def test_ten_turns_with_tool_loops_stay_on_one_arm_while_single_requests_do_not(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path, **BY_CHANCE) as world:
        messages: list[Json] = []
        in_conversation, single = [], []
        for turn in range(10):
            messages += [user(f"Turn {turn}")]
            in_conversation.append(await answered_by(world, messages, f"ask-{turn}"))
            messages += called(f"call_{turn}")
            in_conversation.append(await answered_by(world, messages, f"tool-{turn}"))
            messages += [ANSWER]
            single.append(await answered_by(world, [user(f"Other {turn}")], f"free-{turn}", None))

    assert len(set(in_conversation)) == 1
    assert len(set(single)) > 1


async def test_staying_in_a_tool_loop_is_logged_as_not_drawn(world: World) -> None:
    await answered_by(world, [user("Hi")], "r-1")
    await answered_by(world, [user("Hi"), *called("call_1")], "r-2")

    record = await world.record("r-2")

    assert (record["decision"], record["propensity"]) == ("sticky", 1.0)
    assert record["conversation"] == {
        "turn": 2,
        "vendor": (await step(world, "r-1"))["vendor"],
        "n_messages_of_other_vendors": 0,
        "holdout": None,
        "previous_model": (await world.record("r-1"))["chosen_model"],
        "is_drawn": False,
        "gain": None,
        "switching_cost": None,
    }


async def test_a_conversation_without_a_session_id_has_affinity_from_its_second_turn_on(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path, **BY_CHANCE) as world:
        first = [user("Hello")]
        first_turns = {await answered_by(world, first, f"o-{i}", None) for i in range(12)}
        last = (await world.record("o-11"))["chosen_model"]
        own = {"role": "assistant", "content": "".join(Reply().words)}
        later = [*first, own, user("And now?")]
        later_turns = {await answered_by(world, later, f"l-{i}", None) for i in range(12)}

    assert len(first_turns) > 1
    assert later_turns == {last}


async def test_a_request_without_a_follow_up_belongs_to_no_conversation(world: World) -> None:
    await answered_by(world, [user("Hello")], "r-1", None)
    await answered_by(world, [user("Something else"), ANSWER, user("And now?")], "r-2", None)

    assert (await step(world, "r-2"))["turn"] == 1


async def test_a_conversation_ends_when_its_time_to_live_is_over(tmp_path: Path) -> None:
    async with opened(tmp_path, session_ttl_s=60.0) as world:
        await answered_by(world, [user("Hi")], "r-1")
        world.clock.advance(61.0)
        await answered_by(world, [user("Hi"), ANSWER, user("Still there?")], "r-2")

        assert (await step(world, "r-2"))["turn"] == 1


async def test_with_a_ttl_of_zero_no_conversation_has_affinity(tmp_path: Path) -> None:
    async with opened(tmp_path, session_ttl_s=0.0) as world:
        await answered_by(world, [user("Hi")], "r-1")
        await answered_by(world, [user("Hi"), ANSWER, user("And now?")], "r-2")

        assert await step(world, "r-2") is None
        assert world.store.conversation_states == {}


async def test_a_conversation_moves_to_the_model_that_the_client_names(world: World) -> None:
    await answered_by(world, [user("Hi")], "r-1", model="small")
    await answered_by(world, [user("Hi"), ANSWER, user("Think hard")], "r-2", model="large")

    assert await answered_by(world, [user("Hi"), *called("call_1")], "r-3") == "large"


async def test_a_title_neither_moves_a_conversation_nor_teaches(world: World) -> None:
    await answered_by(world, [user("Hi")], "r-1", model="small")
    title = [user("Please write a 5-10 word title for the following conversation: Hi")]
    await answered_by(world, title, "title", model="large", max_tokens=100)
    rated = await world.rate("title", 0.0)

    assert rated.json()["status"] == "not_learned"
    assert await answered_by(world, [user("Hi"), *called("call_1")], "r-2") == "small"


async def test_a_draining_model_finishes_only_its_tool_loop(world: World) -> None:
    await answered_by(world, [user("Hi")], "r-1", model="medium")
    await world.http.patch("/admin/models/medium", json={"state": "draining"})

    loop = [user("Hi"), *called("call_1")]
    assert await answered_by(world, loop, "r-2") == "medium"
    assert await answered_by(world, [*loop, ANSWER, user("And now?")], "r-3") != "medium"


async def test_a_draining_model_finishes_a_tool_loop_that_no_other_could_continue(world: World) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    picture = {"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]}
    assert await answered_by(world, [picture], "r-1") == "large"  # the only one with vision
    await world.http.patch("/admin/models/large", json={"state": "draining"})

    assert await answered_by(world, [picture, *called("call_1")], "r-2") == "large"

    refused = await post(world, [picture, ANSWER, user("And now?")], "r-3")
    assert refused.status_code == 400
    assert "large: is draining" in refused.json()["error"]["message"]


# --- switching -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("switch_margin", "switches"), [(0.05, True), (0.9, False)])
async def test_a_user_turn_switches_only_for_a_gain_above_the_switching_cost(
    tmp_path: Path, switch_margin: float, switches: bool
) -> None:
    async with opened(tmp_path, [CHEAP, DEAR], session_switch_margin=switch_margin, **QUALITY) as world:
        await answered_by(world, [user("Hi")], "r-1", model="cheap")
        await rate(world, "cheap", 0.2)
        await rate(world, "dear", 0.9)

        later = [user("Hi"), ANSWER, user("And now?")]
        assert (await answered_by(world, later, "r-2") == "dear") is switches
        weighed = await step(world, "r-2")

    cost = weighed["switching_cost"]
    assert cost["switch_margin"] == switch_margin
    assert (weighed["gain"] > switch_margin + cost["cache_loss"]) is switches
    assert weighed["is_drawn"] is switches


@pytest.mark.parametrize(("home", "switches"), [(CHEAP, True), (CACHED, False)])
async def test_the_loss_of_the_prompt_cache_is_part_of_the_switching_cost(
    tmp_path: Path, home: Any, switches: bool
) -> None:
    knobs = {**QUALITY, "cost_weight": -1.0, "session_switch_margin": 0.01}
    async with opened(tmp_path, [home, DEAR], **knobs) as world:
        history = [user("Hi"), {"role": "assistant", "content": "long " * 4_000}]
        await answered_by(world, history[:1], "r-1", model="cheap")
        for i in range(30):
            for arm_id, score in (("cheap", 0.1), ("dear", 0.95)):
                await world.ask("Rate me", request_id=f"{arm_id}-{i}", model=arm_id)
                await world.rate(f"{arm_id}-{i}", score)

        assert (await answered_by(world, [*history, user("And now?")], "r-2") == "dear") is switches
        weighed = await step(world, "r-2")

    assert weighed["gain"] > weighed["switching_cost"]["switch_margin"]
    assert (weighed["switching_cost"]["cache_loss"] > 0) is not switches


async def test_a_switch_is_drawn_with_its_exact_propensity(tmp_path: Path) -> None:
    async with opened(tmp_path, [CHEAP, DEAR], session_switch_margin=0.0, **QUALITY) as world:
        await answered_by(world, [user("Hi")], "r-1", model="cheap")
        await rate(world, "cheap", 0.2)
        await rate(world, "dear", 0.9)
        await answered_by(world, [user("Hi"), ANSWER, user("And now?")], "r-2")

        record = await world.record("r-2")

    probabilities = {c["model"]: c["probability"] for c in record["candidates"]}
    assert record["propensity"] == probabilities["dear"]
    assert sum(probabilities.values()) == pytest.approx(1.0)


async def test_a_tool_loop_never_switches_for_a_gain(tmp_path: Path) -> None:
    async with opened(tmp_path, [CHEAP, DEAR], session_switch_margin=0.0, **QUALITY) as world:
        await answered_by(world, [user("Hi")], "r-1", model="cheap")
        await rate(world, "cheap", 0.0)
        await rate(world, "dear", 1.0)

        assert await answered_by(world, [user("Hi"), *called("call_1")], "r-2") == "cheap"


# --- failing -------------------------------------------------------------------------------------------


async def test_in_a_tool_loop_an_arm_is_called_even_while_it_is_cooling_down(world: World) -> None:
    await answered_by(world, [user("Hi")], "r-1", model="medium")
    world.model_client.will("medium", Reply(error=ProviderRateLimited("slow down", retry_after_s=100)))
    await post(world, [user("Elsewhere")], "busy", None, model="medium")

    assert await answered_by(world, [user("Hi"), *called("call_1")], "r-2") == "medium"


async def test_in_a_tool_loop_an_arm_is_called_even_while_all_are_cooling_down(world: World) -> None:
    await answered_by(world, [user("Hi")], "r-1", model="medium")
    for other in ("small", "medium", "large"):
        world.model_client.will(other, Reply(error=ProviderRateLimited("slow down", retry_after_s=100)))
        await post(world, [user("Elsewhere")], f"busy-{other}", None, model=other)

    assert await answered_by(world, [user("Hi"), *called("call_1")], "r-2") == "medium"


async def test_a_tool_loop_does_not_replace_a_model_that_the_client_names(world: World) -> None:
    await answered_by(world, [user("Hi")], "r-1", model="medium")
    world.model_client.will("small", Reply(error=ProviderBroken("down", status=404)))

    response = await post(world, [user("Hi"), *called("call_1")], "r-2", model="small")

    assert response.status_code == 503
    assert world.model_client.called == ["medium", "small"]


async def test_a_tool_loop_whose_arm_fails_continues_with_another_and_stays_there(world: World) -> None:
    await answered_by(world, [user("Hi")], "r-1", model="medium")
    world.model_client.will("medium", Reply(error=ProviderBroken("down")))
    loop = [user("Hi"), *called("call_1")]
    fallback = await post(world, loop, "r-2")
    other = fallback.headers["x-router-model"]
    await world.background.drain(5.0)

    assert fallback.headers["x-router-decision"] == "fallback"
    assert other != "medium"
    assert await answered_by(world, [*loop, *called("call_2")], "r-3") == other
    assert await answered_by(world, [*loop, ANSWER, user("And now?")], "r-4") == other


async def test_a_tool_loop_whose_arm_can_no_longer_answer_falls_back(world: World) -> None:
    await answered_by(world, [user("Hi")], "r-1", model="small")

    fallback = await post(
        world,
        [user("Hi"), *called("call_1"), user("<system-reminder>" + "x" * 20_000 + "</system-reminder>")],
        "r-2",
    )

    assert fallback.headers["x-router-decision"] == "fallback"
    assert fallback.headers["x-router-model"] != "small"


async def test_thinking_of_one_vendor_is_not_sent_to_another(tmp_path: Path) -> None:
    claude = replace(CHEAP, arm_id="claude", model="claude-sonnet")
    gpt = replace(DEAR, arm_id="gpt", model="gpt-4o")
    thinking = {"role": "assistant", "content": "So.", "thinking_blocks": [{"type": "thinking"}]}
    own = {"role": "assistant", "content": "I see.", "reasoning_content": "my own"}
    async with opened(tmp_path, [claude, gpt]) as world:
        first = [user("Hi")]
        await answered_by(world, first, "r-1", model="claude")
        second = [*first, thinking, user("You, GPT?")]
        await answered_by(world, second, "r-2", model="gpt")
        third = [*second, own, *called("call_1")]
        await answered_by(world, third, "r-3")

        sent = [body["messages"] for _, body in world.model_client.calls]

    plain = {"role": "assistant", "content": "So."}
    assert sent[1] == [user("Hi"), plain, user("You, GPT?")]
    assert sent[2] == [user("Hi"), plain, user("You, GPT?"), own, *called("call_1")]


# --- replicas and outages ------------------------------------------------------------------------------


async def test_another_replica_keeps_the_arm_of_a_conversation(tmp_path: Path) -> None:
    async with (
        opened(tmp_path / "a", **BY_CHANCE) as replica_1,
        opened(tmp_path / "b", store=replica_1.store, **BY_CHANCE) as replica_2,
    ):
        messages, answering = [user("Hi")], []
        for turn in range(8):
            world = (replica_1, replica_2)[turn % 2]
            answering.append(await answered_by(world, messages, f"r-{turn}"))
            replica_1.clock.now = replica_2.clock.now = max(replica_1.clock.now, replica_2.clock.now)
            messages += [ANSWER, user(f"Turn {turn}")]

    assert len(set(answering)) == 1


async def test_a_replica_follows_where_another_moved_a_conversation(tmp_path: Path) -> None:
    async with (
        opened(tmp_path / "a") as replica_1,
        opened(tmp_path / "b", store=replica_1.store) as replica_2,
    ):
        await answered_by(replica_1, [user("Hi")], "r-1", model="small")
        replica_2.clock.now = replica_1.clock.now
        await answered_by(replica_2, [user("Hi"), ANSWER, user("Think")], "r-2", model="large")
        replica_1.clock.now = replica_2.clock.now

        assert await answered_by(replica_1, [user("Hi"), *called("call_1")], "r-3") == "large"


async def test_without_postgresql_a_replica_uses_its_own_states_and_is_degraded(world: World) -> None:
    await answered_by(world, [user("Hi")], "r-1", model="medium")
    world.store.is_down = True

    response = await post(world, [user("Hi"), *called("call_1")], "r-2")

    assert response.headers["x-router-model"] == "medium"
    assert "store" in response.headers["x-router-degraded"]


async def test_decisions_from_the_spool_do_not_replace_newer_conversation_states(world: World) -> None:
    world.store.is_down = True
    await answered_by(world, [user("Hi")], "r-1", model="small")
    await answered_by(world, [user("Hi"), ANSWER, user("Think")], "r-2", model="large")
    world.store.is_down = False
    await world.parts.journal.drain()

    assert [conversation.arm_id for conversation in world.store.conversation_states.values()] == ["large"]
    assert await answered_by(world, [user("Hi"), *called("call_1")], "r-3") == "large"


# --- the holdout ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("is_held_out", "stays"), [(True, True), (False, False)])
async def test_the_holdout_of_a_conversation_applies_to_all_its_turns(
    tmp_path: Path, is_held_out: bool, stays: bool
) -> None:
    knobs = {**BY_CHANCE, "session_switch_margin": 0.0}
    async with opened(tmp_path, [CHEAP, DEAR], holdout_share=0.5, **knobs) as world:
        conversations = {f"s-{i}": [user(f"Hi {i}")] for i in range(16)}
        for name, messages in conversations.items():
            await answered_by(world, messages, name, name)
        begun = [name for name in conversations if (await world.record(name))["holdout"] is is_held_out]
        await rate(world, "cheap", 0.0)
        await rate(world, "dear", 1.0)
        for name in begun:
            for turn in range(4):
                conversations[name] += [ANSWER, user(f"Turn {turn}")]
                await answered_by(world, conversations[name], f"{name}-{turn}", name)
        later = [await world.record(f"{name}-{turn}") for name in begun for turn in range(4)]

    assert len(begun) > 2
    assert {record["holdout"] for record in later} == {is_held_out}
    assert ({record["chosen_model"] for record in later} == {"cheap"}) is stays
    assert all(record["propensity"] == 1.0 for record in later if stays)


# --- Anthropic's dialect -------------------------------------------------------------------------------


async def test_claude_code_stays_on_its_arm_through_a_tool_loop(tmp_path: Path) -> None:
    reminder = {"type": "text", "text": "<system-reminder>Today is Friday.</system-reminder>"}
    use = {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "1"}
    tool = {"name": "Read", "input_schema": {"type": "object"}}
    messages: list[Json] = [{"role": "user", "content": [reminder, {"type": "text", "text": "Fix it"}]}]
    loop = [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result, reminder]}]
    async with opened(tmp_path, [CHEAP, DEAR], **BY_CHANCE) as world:
        answering = []
        for turn in range(6):
            options = {"max_tokens": 100, "tools": [tool], "metadata": {"user_id": "u"}}
            response = await world.http.post(
                "/v1/messages",
                json={**options, "messages": messages},
                headers={"X-Request-ID": f"r-{turn}", "X-Claude-Code-Session-Id": "cc-1"},
            )
            assert response.status_code == 200, response.text
            answering.append(response.headers["x-router-model"])
            world.clock.advance(1.0)
            messages = [*messages, *loop]
        last = await world.record("r-5")

    assert len(set(answering)) == 1
    assert (last["decision"], last["conversation"]["turn"], last["session_id"]) == ("sticky", 6, "cc-1")
    assert world.encoder.texts == ["Fix it"]  # the first request; its loop stays with its arm


async def test_claude_codes_topic_belongs_to_no_conversation(world: World) -> None:
    topic = "Analyze if this message indicates a new conversation topic. If it does, extract a title"
    body = {
        "max_tokens": 512,
        "system": [{"type": "text", "text": topic}],
        "messages": [{"role": "user", "content": "Fix it"}],
    }
    headers = {"X-Request-ID": "topic", "X-Claude-Code-Session-Id": "cc-1"}

    await world.http.post("/v1/messages", json=body, headers=headers)

    record = await world.record("topic")
    assert (record["conversation"], record["learn"], record["housekeeping"]) == (None, False, True)
    assert world.store.conversation_states == {}


async def test_a_title_goes_to_the_cheapest_model_that_can_answer_it(tmp_path: Path) -> None:
    async with opened(tmp_path, **BY_CHANCE) as world:
        title = [user("Please write a 5-10 word title for the following conversation: Hi")]
        schema = {"type": "json_schema", "json_schema": {"name": "title", "schema": {}}}  # small has none
        usual = {await answered_by(world, title, f"t-{i}", None, max_tokens=99) for i in range(12)}
        in_form = await answered_by(world, title, "f", None, max_tokens=99, response_format=schema)
        record = await world.record("t-0")

    assert (usual, in_form) == ({"small"}, "medium")
    assert (record["decision"], record["propensity"], record["holdout"]) == ("default", 1.0, None)


SEARCH: Json = {
    "model": "auto",
    "max_tokens": 32_000,
    "system": "You are an assistant for performing a web search tool use",
    "tools": [{"type": "web_search_20250305", "name": "web_search"}],
    "messages": [user("Perform a web search for the query: rust")],
}


async def test_a_side_call_within_a_tool_loop_does_not_move_it(tmp_path: Path) -> None:
    claude = replace(DEAR, arm_id="claude", provider="anthropic")
    cheaper = replace(CHEAP, arm_id="cheaper", provider="anthropic")
    tools = [{"name": "WebSearch", "input_schema": {"type": "object"}}]
    use = {"type": "tool_use", "id": "toolu_1", "name": "WebSearch", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "1.90"}
    ask: Json = {"max_tokens": 32_000, "tools": tools, "messages": [user("Which rust is it?")]}
    loop = [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    async with opened(tmp_path, [claude, cheaper]) as world:

        async def sent(name: str, body: Json) -> httpx.Response:
            headers = {"X-Request-ID": name, "X-Claude-Code-Session-Id": "cc-1"}
            response = await world.http.post("/v1/messages", json=body, headers=headers)
            assert response.status_code == 200, response.text
            world.clock.advance(1.0)
            return response

        await sent("ask", {**ask, "model": "claude"})
        search = await sent("search", SEARCH)
        after = await sent("loop", {**ask, "messages": [*ask["messages"], *loop]})
        record = await world.record("search")
        step_after = await step(world, "loop")

    assert search.headers["x-router-side-call"] == record["side_call"] == "search"
    assert (search.headers["x-router-model"], record["decision"], record["propensity"]) == (
        "cheaper",
        "default",
        1.0,
    )
    assert (record["learn"], record["conversation"]) == (False, None)
    assert after.headers["x-router-model"] == "claude"
    assert "x-router-side-call" not in after.headers
    assert step_after["turn"] == 2


COMPACTION = "Your task is to create a detailed summary of the conversation so far."
AGENT = {"user-agent": "opencode/1.2"}


async def summarised(world: World, *, session_id: str | None, answer: str = "Hello there.") -> httpx.Response:
    """An agent asks for a summary of a conversation whose first question was answered so."""
    own = {"role": "assistant", "content": answer}
    headers = AGENT if session_id is None else {**AGENT, "x-session-id": session_id}
    response = await world.http.post(
        "/v1/chat/completions",
        json={"messages": [user("Hi"), own, user(COMPACTION)]},
        headers={**headers, "X-Request-ID": "summary"},
    )
    world.clock.advance(1.0)
    return response


@pytest.mark.parametrize("session_id", ["s", None])
async def test_a_summary_stays_on_the_conversations_model_without_a_draw(
    world: World, session_id: str | None
) -> None:
    await answered_by(world, [user("Hi")], "r-1", session_id, model="large")
    summary = await summarised(world, session_id=session_id)
    record = await world.record("summary")
    own = {"role": "assistant", "content": "Hello there."}
    await answered_by(world, [user("Hi"), own, user("And now?")], "r-2", session_id)

    assert summary.headers["x-router-model"] == "large"
    assert (record["side_call"], record["decision"], record["learn"]) == ("summary", "sticky", False)
    assert record["conversation"]["is_drawn"] is False
    assert (await step(world, "r-2"))["turn"] == 2  # the summary was none


async def test_a_summary_of_an_unknown_conversation_goes_to_the_best_model(tmp_path: Path) -> None:
    async with opened(tmp_path, [CHEAP, DEAR], **BY_CHANCE) as world:
        await rate(world, "cheap", 0.1)
        await rate(world, "dear", 0.9)
        answering = [(await summarised(world, session_id=None, answer=f"Some {i}")) for i in range(1)]
        record = await world.record("summary")

    assert {response.headers["x-router-model"] for response in answering} == {"dear"}
    assert (record["decision"], record["propensity"]) == ("default", 1.0)


async def test_a_summary_that_another_model_gives_does_not_move_the_conversation(world: World) -> None:
    await answered_by(world, [user("Hi")], "r-1", "s", model="large")
    world.model_client.will("large", Reply(error=ProviderBroken("down")))
    summary = await summarised(world, session_id="s")

    assert summary.headers["x-router-model"] != "large"
    assert await answered_by(world, [user("Hi"), *called("call_1")], "r-2", "s") == "large"
