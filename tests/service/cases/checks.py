"""The `expect` of each case as assertions."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping

import orjson
import pytest

from tests.service.cases.played import Answered, Stage

Check = Callable[[Stage, Answered], Awaitable[None]]

LISBON, PORTO = {"city": "Lisbon"}, {"city": "Porto"}
USE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")  # what clients of Anthropic, and Anthropic, accept


def arguments(answered: Answered) -> list[object]:
    return [orjson.loads(call["function"]["arguments"]) for call in answered.calls]


def tokens(usage: Mapping[str, object]) -> tuple[object, object, object]:
    return usage["prompt_tokens"], usage["completion_tokens"], usage["estimated"]


# --- refusals


async def refused_with_googles_sentence(stage: Stage, answered: Answered) -> None:
    assert answered.status == 400
    assert "Invalid JSON payload received." in answered.error["message"]
    assert not stage.is_blamed()


async def asked_to_wait_as_long_as_google_says(stage: Stage, answered: Answered) -> None:
    assert (answered.status, answered.response.headers["Retry-After"]) == (429, "39")


async def refused_with_the_detail(stage: Stage, answered: Answered) -> None:
    assert answered.status == 400
    assert "Expected last role to be user" in answered.error["message"]
    assert not stage.is_blamed()


async def refused_with_the_bare_message(stage: Stage, answered: Answered) -> None:
    assert answered.status == 400
    assert "lone leading surrogate" in answered.error["message"]
    assert not stage.is_blamed()


async def answered_by_the_other_arm(stage: Stage, answered: Answered) -> None:
    assert (answered.status, answered.text) == (200, "Sunny.")
    assert (len(stage.asked("a")), len(stage.asked("b"))) == (1, 1)
    assert not stage.is_blamed("a")


async def the_stop_sequence_is_named(stage: Stage, answered: Answered) -> None:
    assert answered.stop == ("stop_sequence", "END")


async def one_bad_caller_rests_no_model(stage: Stage, answered: Answered) -> None:
    assert answered.status == 400
    assert "logit_bias" in answered.error["message"]
    for i in range(3):
        assert (await stage.ask(request_id=f"again-{i}")).status == 400
    assert not stage.is_blamed("a")
    assert not stage.is_blamed("b")
    assert (await stage.ask({"logit_bias": None}, request_id="healthy")).text == "Sunny."


# --- ids of tool calls


async def the_id_leads_back(stage: Stage, answered: Answered) -> None:
    [use] = answered.tool_uses
    assert (use["name"], use["input"]) == ("weather", {})
    assert USE_ID.fullmatch(use["id"])


async def the_models_own_id_comes_back(stage: Stage, answered: Answered) -> None:
    assert (answered.status, answered.spoken) == (200, "Sunny.")
    [body] = stage.asked()
    assert body["messages"][1]["tool_calls"][0]["id"] == "functions.weather:0"
    assert body["messages"][2]["tool_call_id"] == "functions.weather:0"


# --- controls


async def both_texts_are_recorded(stage: Stage, answered: Answered) -> None:
    assert (answered.status, answered.text) == (200, "c\0d")
    record = await stage.record()
    texts = [record["query"]["text"], record["outcome"]["answer_text"]]
    assert [text.replace("\0", "\ufffd") for text in texts] == [
        "a\ufffdb",
        "c\ufffdd",
    ]  # PostgreSQL has no NUL


async def the_file_is_seen(stage: Stage, answered: Answered) -> None:
    assert answered.spoken == "seen"


async def every_event_has_a_choice(stage: Stage, answered: Answered) -> None:
    assert answered.is_done
    assert answered.text == "Sunny."
    assert all(event["choices"] for event in answered.events)


async def the_stop_sequences_reach_the_model(stage: Stage, answered: Answered) -> None:
    assert answered.spoken == "stop came"
    assert stage.asked()[-1]["stop"] == ["END"]


async def ends_well_and_is_counted(stage: Stage, answered: Answered) -> None:
    assert answered.is_done
    assert (answered.text, answered.finish_reason) == ("Sunny.", "stop")
    assert tokens(await stage.usage()) == (40, 12, False)


# --- thinking, and answers in parts


async def the_tool_loop_is_answered(stage: Stage, answered: Answered) -> None:
    assert (answered.status, answered.spoken) == (200, "Sunny.")
    assert stage.asked()[-1]["messages"][1]["reasoning_content"] == ""
    assert not stage.is_blamed()


async def the_thinking_is_a_block(stage: Stage, answered: Answered) -> None:
    thinking, use = answered.blocks
    assert (thinking["type"], thinking["thinking"]) == ("thinking", "I need the weather.")
    assert (use["type"], use["input"]) == ("tool_use", LISBON)


async def the_thinking_goes_up(stage: Stage, answered: Answered) -> None:
    assert (answered.status, answered.text) == (200, "Sunny.")
    assert [body["messages"][1]["reasoning_content"] for body in stage.asked()] == ["I need it."]


async def the_text_arrives(stage: Stage, answered: Answered) -> None:
    assert answered.spoken == "Sunny."


async def content_is_a_string(stage: Stage, answered: Answered) -> None:
    assert answered.message["content"] == "Sunny."
    assert answered.message["reasoning_content"] == "Let me see."


async def claude_answers_without_thinking(stage: Stage, answered: Answered) -> None:
    assert (answered.status, answered.text) == (200, "Sunny.")
    assert not stage.is_blamed()


# --- streams


async def done_says_that_the_answer_is_whole(stage: Stage, answered: Answered) -> None:
    assert answered.is_done
    assert (answered.text, answered.finish_reason) == ("Sunny. And warm.", "stop")
    assert tokens(await stage.usage()) == (40, 12, False)


async def ends_with_an_error(stage: Stage, answered: Answered) -> None:
    assert "error" in answered.events[-1]
    assert "[DONE]" not in answered.response.text


async def the_character_is_whole(stage: Stage, answered: Answered) -> None:
    assert answered.is_done
    assert answered.text == "Hot \N{FIRE} day"


async def refused_for_the_half_character(stage: Stage, answered: Answered) -> None:
    assert answered.status == 400
    assert "surrogate" in answered.error["message"]


async def one_completion_is_made_of_the_pieces(stage: Stage, answered: Answered) -> None:
    assert answered.body["object"] == "chat.completion"
    assert (answered.text, answered.finish_reason) == ("Sunny. Warm.", "stop")
    assert tokens(await stage.usage()) == (40, 12, False)


# --- time


async def keepalives_count_as_life(stage: Stage, answered: Answered) -> None:
    assert (answered.status, answered.text) == (200, "Sunny.")
    assert answered.is_done


async def the_whole_answer_may_take_minutes(stage: Stage, answered: Answered) -> None:
    assert (answered.status, answered.text) == (200, "Sunny.")
    assert len(stage.asked()) == 1


# --- tool calls in pieces


async def two_calls_with_indices(stage: Stage, answered: Answered) -> None:
    assert answered.is_done
    assert arguments(answered) == [LISBON, PORTO]
    assert [call["id"] for call in answered.calls] == ["call_a", "call_b"]
    assert {p["index"] for d in answered.deltas for p in d.get("tool_calls") or []} == {0, 1}


async def two_tool_uses(stage: Stage, answered: Answered) -> None:
    assert [use["input"] for use in answered.tool_uses] == [LISBON, PORTO]
    assert answered.stop == ("tool_use", None)


async def one_call_with_an_index(stage: Stage, answered: Answered) -> None:
    assert answered.is_done
    assert arguments(answered) == [LISBON]
    assert {p["index"] for d in answered.deltas for p in d.get("tool_calls") or []} == {0}


async def one_tool_use(stage: Stage, answered: Answered) -> None:
    assert [(use["name"], use["input"]) for use in answered.tool_uses] == [("weather", LISBON)]


async def two_tool_uses_with_different_ids(stage: Stage, answered: Answered) -> None:
    assert [use["input"] for use in answered.tool_uses] == [LISBON, PORTO]
    assert len({use["id"] for use in answered.tool_uses}) == 2


async def the_call_has_an_id(stage: Stage, answered: Answered) -> None:
    assert answered.is_done
    [call] = answered.calls
    assert call["id"]
    assert arguments(answered) == [LISBON]


async def arguments_are_a_string(stage: Stage, answered: Answered) -> None:
    [call] = answered.calls
    assert isinstance(call["function"]["arguments"], str)
    assert arguments(answered) == [LISBON]


async def finishes_with_tool_calls(stage: Stage, answered: Answered) -> None:
    assert answered.is_done
    assert answered.finish_reason == "tool_calls"
    assert arguments(answered) == [LISBON]


# --- usage


async def reasoning_beside_the_completion_is_counted(stage: Stage, answered: Answered) -> None:
    usage = await stage.usage()
    assert (tokens(usage), usage["reasoning_tokens"]) == ((32, 103, False), 94)
    assert await stage.cost_usd() == pytest.approx((32 * 1 + 103 * 10) / 1e6)


async def cached_tokens_at_the_top_are_counted(stage: Stage, answered: Answered) -> None:
    assert (await stage.usage())["cached_tokens"] == 9000
    assert await stage.cost_usd() == pytest.approx((1000 * 1 + 9000 * 0.1 + 10 * 10) / 1e6)


async def the_names_with_counts_win(stage: Stage, answered: Answered) -> None:
    usage = await stage.usage()
    assert (tokens(usage), usage["cached_tokens"]) == ((5000, 700, False), 4000)


async def zeros_are_estimated(stage: Stage, answered: Answered) -> None:
    assert (await stage.usage())["estimated"]
    assert await stage.cost_usd() > 0


async def a_later_zero_erases_nothing(stage: Stage, answered: Answered) -> None:
    assert tokens(await stage.usage()) == (4000, 12, False)


async def later_counts_are_read(stage: Stage, answered: Answered) -> None:
    usage = await stage.usage()
    assert (tokens(usage), usage["cached_tokens"]) == ((514, 12, False), 500)


# --- asked of another vendor


async def the_schema_gets_properties(stage: Stage, answered: Answered) -> None:
    assert (answered.status, answered.spoken) == (200, "Sunny.")
    [tool] = stage.asked()[-1]["tools"]
    assert tool["function"]["parameters"] == {"type": "object", "properties": {}}
    assert not stage.is_blamed()


async def developer_becomes_system(stage: Stage, answered: Answered) -> None:
    assert (answered.status, answered.text) == (200, "Sunny.")
    assert stage.asked()[-1]["messages"][0] == {"role": "system", "content": "Be brief."}
    assert not stage.is_blamed()


async def parts_of_text_are_one_string(stage: Stage, answered: Answered) -> None:
    assert (answered.status, answered.spoken) == (200, "Sunny.")
    [message] = stage.asked()[-1]["messages"]
    assert message["content"].endswith("Hello")
    assert not stage.is_blamed()


async def asked_again_without_stream_options(stage: Stage, answered: Answered) -> None:
    assert (answered.status, answered.text) == (200, "Sunny.")
    assert answered.is_done
    assert ["stream_options" in body for body in stage.asked()] == [True, False]
    assert not stage.is_blamed()


async def the_reasoning_field_reaches_the_model(stage: Stage, answered: Answered) -> None:
    assert answered.text == "thought"


CHECKS: Mapping[str, Check] = {
    "e01-list": refused_with_googles_sentence,
    "e02-list-429": asked_to_wait_as_long_as_google_says,
    "e04-detail": refused_with_the_detail,
    "e06-bare-message": refused_with_the_bare_message,
    "e07-overflow-vllm": answered_by_the_other_arm,
    "e09-unsupported-no-code": answered_by_the_other_arm,
    "e11-code-unsupported": answered_by_the_other_arm,
    "e12-stop-sequence-told": the_stop_sequence_is_named,
    "e13-one-bad-caller": one_bad_caller_rests_no_model,
    "kimi-first": the_id_leads_back,
    "p01-nul": both_texts_are_recorded,
    "p02-pdf": the_file_is_seen,
    "p03-azure-first": every_event_has_a_choice,
    "p04-stop-sequences": the_stop_sequences_reach_the_model,
    "p05-usage-null": ends_well_and_is_counted,
    "r01-reasoning-back": the_tool_loop_is_answered,
    "r02-reasoning-comes": the_thinking_is_a_block,
    "r03-reasoning-back-openai": the_thinking_goes_up,
    "r05-content-in-parts": the_text_arrives,
    "r07-content-in-parts-openai": content_is_a_string,
    "r08-claude-thinks-for-openai": claude_answers_without_thinking,
    "r09-kimi-ids": the_models_own_id_comes_back,
    "s01-usage-without-choices": ends_well_and_is_counted,
    "s02-choices-null": ends_well_and_is_counted,
    "s04-done-without-finish": done_says_that_the_answer_is_whole,
    "s05-cut-off": ends_with_an_error,
    "s06-split-emoji": the_character_is_whole,
    "s09-half-character-asked": refused_for_the_half_character,
    "s11-sse-for-whole": one_completion_is_made_of_the_pieces,
    "s13-sse-plain-text": ends_well_and_is_counted,
    "s14-keepalives-hold": keepalives_count_as_life,
    "s17-whole-after-65s": the_whole_answer_may_take_minutes,
    "t01-same-index": two_calls_with_indices,
    "t02-same-index-anthropic": two_tool_uses,
    "t03-no-index": one_call_with_an_index,
    "t06-id-changes": one_tool_use,
    "t08-one-id-twice": two_tool_uses_with_different_ids,
    "t10-no-id": the_call_has_an_id,
    "t11-arguments-object": arguments_are_a_string,
    "t13-finish-stop": finishes_with_tool_calls,
    "u01-reasoning-beside": reasoning_beside_the_completion_is_counted,
    "u03-cached-at-top": cached_tokens_at_the_top_are_counted,
    "u04-both-names": the_names_with_counts_win,
    "u07-usage-zero": zeros_are_estimated,
    "u08-delta-input-zero": a_later_zero_erases_nothing,
    "u09-start-zero": later_counts_are_read,
    "v01-no-properties": the_schema_gets_properties,
    "v04-developer": developer_becomes_system,
    "v05-parts-of-text": parts_of_text_are_one_string,
    "v07-stream-options": asked_again_without_stream_options,
    "v08-reasoning-field": the_reasoning_field_reaches_the_model,
}

# Cases in which the client gets an answer, so that its own library must be able to read it.
REFUSED = {"e01-list", "e02-list-429", "e04-detail", "e06-bare-message", "e13-one-bad-caller", "s05-cut-off"}
READABLE = [name for name in CHECKS if name not in REFUSED | {"s09-half-character-asked", "r09-kimi-ids"}]
