"""What a client sends back of an answer is the answer; any order of items gives a sound history."""

from __future__ import annotations

import random

import orjson
import pytest

from service.dialects.responses.client_tools import arguments_in
from service.domain.basics import Json
from tests.service.dialects.responses.shared import WEATHER, assistant, call, messages_of, read, result, user
from tests.service.dialects.responses.test_events import answer_of, whole
from tests.service.dialects.responses.test_tools import AGENTS, PATCH

TOOLS = [WEATHER, PATCH, AGENTS, {"type": "shell"}]
OUTPUTS = {
    "function_call": "function_call_output",
    "custom_tool_call": "custom_tool_call_output",
    "shell_call": "shell_call_output",
}


def outputs_of(items: list[Json]) -> list[Json]:
    """A result for every call."""
    calls = [item for item in items if item["type"] in OUTPUTS]
    return [{"type": OUTPUTS[item["type"]], "call_id": item["call_id"], "output": "x"} for item in calls]


def meaning(call: Json) -> tuple[str, str, object]:
    """A call without the form of its arguments."""
    function = call["function"]
    arguments = {k: v for k, v in arguments_in(function["arguments"]).items() if v is not None}
    return call["id"], function["name"], arguments or function["arguments"]


@pytest.mark.parametrize("seed", range(60))
def test_an_answer_that_comes_back_is_the_same_message(seed: int) -> None:
    message = answer_of(random.Random(seed))
    for call_ in message.get("tool_calls", []):  # of tools that the model may call, as their schemas want
        kind = {"patch": '{"input":"x"}', "agents__tell": '{"input":"x"}', "shell": '{"commands":["ls"]}'}
        call_["function"]["arguments"] = kind.get(call_["function"]["name"], '{"city":"Oslo"}')
    items = orjson.loads(orjson.dumps(whole(message, tools=TOOLS)["output"]))

    back = read(tools=TOOLS, input=[user("Hi"), *items, *outputs_of(items)]).body["messages"][1]

    assert back["content"] == (
        "".join((message.get("content") or "", message.get("refusal") or "")) or None
    ) or (not message.get("tool_calls") and back["content"] == "")
    assert back.get("reasoning_content") == message.get("reasoning_content")
    assert [*map(meaning, back.get("tool_calls", []))] == [*map(meaning, message.get("tool_calls", []))]


def conversation(rng: random.Random) -> list[Json]:
    """Items in any order, but each result after its call, and a result for every call."""
    items: list[Json] = []
    unanswered: list[str] = []
    for n in range(rng.randint(1, 25)):
        match rng.randrange(5):
            case 0:
                items.append(user(f"question {n}"))
            case 1:
                items.append(assistant(f"answer {n}"))
            case 2:
                items.append({"type": "reasoning", "id": f"rs_{n}", "summary": []})
            case 3:
                items.append(call(f"call_{n}"))
                unanswered.append(f"call_{n}")
            case _ if unanswered:
                items.append(result(unanswered.pop(rng.randrange(len(unanswered)))))
    return [user("Hi"), *items, *map(result, unanswered)]


@pytest.mark.parametrize("seed", range(60))
def test_results_stand_right_after_their_calls(seed: int) -> None:
    items = conversation(random.Random(seed))
    messages = messages_of(*items)

    waiting: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            waiting.remove(message["tool_call_id"])
            continue
        assert not waiting
        waiting = {call_["id"] for call_ in message.get("tool_calls", [])}
    assert not waiting
    texts = [m["content"] for m in messages if m["role"] in ("user", "assistant") and m["content"]]
    said = [item["content"][0]["text"] for item in items if item["type"] == "message"]
    assert texts == said
