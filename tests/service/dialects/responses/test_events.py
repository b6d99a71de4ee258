"""The events of a streamed response, and the response that they end with."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import orjson
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from service.conversations.sealed_reasoning import opened
from service.dialects.responses.answers import ResponseForm, form_of
from service.dialects.responses.events import ResponseEvents, whole_response
from service.domain.answer import Chunk
from service.domain.basics import Json
from tests.growth import assert_linear
from tests.service.dialects.responses.shared import NOW, WEATHER
from tests.service.dialects.responses.test_tools import AGENTS, PATCH

STEM = "0" * 32
USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 50,
    "total_tokens": 150,
    "prompt_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 7},
}
EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def form(explanation: Json | None = None, **body: Any) -> ResponseForm:
    return ResponseForm(form_of(body), STEM, NOW, explanation)


def chunk(delta: Json, finish_reason: str | None = None, **choice: Any) -> Json:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish_reason, **choice}]
    return {"id": "chatcmpl-1", "model": "small", "choices": choices}


def last(finish_reason: str = "stop") -> list[Json]:
    return [chunk({}, finish_reason), {"id": "chatcmpl-1", "model": "small", "choices": [], "usage": USAGE}]


def streamed(*chunks: Json, **body: Any) -> list[Json]:
    """The events, each of which OpenAI's client reads, numbered from zero."""
    writer = ResponseEvents(form(**body))
    written = b"".join([*(writer.chunk(Chunk(c)) for c in chunks), writer.end()])
    return events_in(written)


def events_in(written: bytes) -> list[Json]:
    events = []
    for frame in written.decode().strip().split("\n\n"):
        name, data = frame.split("\n")
        event = orjson.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        EVENTS.validate_python(event)
        events.append(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


def types(events: Sequence[Json]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def calls(*calls: tuple[int, str | None, str]) -> Json:
    """A delta of fragments of tool calls: index, name where one begins, arguments."""
    fragments = [
        {
            "index": index,
            **({} if name is None else {"id": f"call_{index}", "type": "function"}),
            "function": {"arguments": arguments, **({} if name is None else {"name": name})},
        }
        for index, name, arguments in calls
    ]
    return {"tool_calls": fragments}


def test_a_text() -> None:
    events = streamed(
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "Hel"}),
        chunk({"content": "lo."}),
        *last(),
    )

    assert types(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert {e["item_id"] for e in events if "item_id" in e} == {events[2]["item"]["id"]}
    assert events[2]["item"]["content"] == []
    assert events[6]["text"] == "Hello."
    assert events[-1]["response"]["output"] == [events[-2]["item"]]
    assert events[-1]["response"]["status"] == "completed"
    assert events[-1]["response"]["usage"] == {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 3},
        "output_tokens": 50,
        "output_tokens_details": {"reasoning_tokens": 7},
        "total_tokens": 150,
    }


def test_reasoning_comes_first_and_ends_before_the_text() -> None:
    events = streamed(
        chunk({"reasoning_content": "Let me "}),
        chunk({"reasoning_content": "think."}),
        chunk({"content": "Yes."}),
        *last(),
    )

    assert types(events)[2:10] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
    ]
    reasoning, message = events[-1]["response"]["output"]
    assert reasoning["summary"] == [{"type": "summary_text", "text": "Let me think."}]
    assert opened(reasoning["encrypted_content"]) == {"reasoning_content": "Let me think."}
    assert message["content"][0]["text"] == "Yes."


def test_a_signature_alone_is_sealed_reasoning() -> None:
    block = {"type": "redacted_thinking", "data": "abc"}
    events = streamed(chunk({"thinking_blocks": [block]}), chunk({"content": "Yes."}), *last())

    assert types(events)[2:4] == ["output_item.added", "output_item.done"]
    assert opened(events[3]["item"]["encrypted_content"]) == {"thinking_blocks": [block]}


def test_a_function_call() -> None:
    events = streamed(
        chunk(calls((0, "weather", ""))),
        chunk(calls((0, None, '{"city":'))),
        chunk(calls((0, None, '"Oslo"}'))),
        *last("tool_calls"),
        tools=[WEATHER],
    )

    assert types(events)[2:-1] == [
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
    ]
    assert events[2]["item"]["arguments"] == ""
    assert events[-1]["response"]["output"] == [
        {
            "id": f"fc_{STEM}_0",
            "type": "function_call",
            "call_id": "call_0",
            "name": "weather",
            "arguments": '{"city":"Oslo"}',
            "status": "completed",
        }
    ]


def test_mixed_fragments_of_calls_become_one_item_after_the_other() -> None:
    events = streamed(
        chunk(calls((0, "weather", '{"a"'), (1, "weather", '{"b"'))),
        chunk(calls((0, None, ":1}"), (1, None, ":2}"))),
        *last("tool_calls"),
    )

    items = events[-1]["response"]["output"]
    assert [(item["call_id"], item["arguments"]) for item in items] == [
        ("call_0", '{"a":1}'),
        ("call_1", '{"b":2}'),
    ]
    assert types(events).count("output_item.added") == types(events).count("output_item.done") == 2
    assert_one_item_is_open_at_a_time(events)


def test_a_custom_tool_call_has_its_input_without_json() -> None:
    events = streamed(
        chunk(calls((0, "patch", '{"inp'))),
        chunk(calls((0, None, 'ut":"say \\"hi\\""}'))),
        *last("tool_calls"),
        tools=[PATCH],
    )

    assert types(events)[2:-1] == [
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
    ]
    assert events[4]["input"] == 'say "hi"'
    item = events[-1]["response"]["output"][0]
    assert (item["type"], item["name"], item["input"]) == ("custom_tool_call", "patch", 'say "hi"')


@pytest.mark.parametrize("arguments", ["*** Begin Patch", '{"patch": "x"}', '["x"]', '{"input": 5}'])
def test_a_model_that_writes_no_input_means_all_of_it(arguments: str) -> None:
    item = whole(calls((0, "patch", arguments)), tools=[PATCH])["output"][0]

    assert item["input"] == arguments


def test_a_call_of_a_namespace_says_so() -> None:
    item = whole(calls((0, "agents__wait", "{}")), tools=[AGENTS])["output"][0]

    assert (item["type"], item["namespace"], item["name"]) == ("function_call", "agents", "wait")


def test_calls_of_shells_and_patches_have_their_own_items() -> None:
    tools = [{"type": "shell"}, {"type": "local_shell"}, {"type": "apply_patch"}]
    items = whole(
        calls(
            (0, "shell", '{"commands":["ls"],"timeout_ms":5}'),
            (1, "local_shell", '{"command":["ls"],"env":{"A":1}}'),
            (2, "apply_patch", '{"type":"create_file","path":"a","diff":"+x"}'),
        ),
        tools=tools,
    )["output"]

    assert items[0]["action"] == {"commands": ["ls"], "timeout_ms": 5, "max_output_length": None}
    assert items[1]["action"] == {"type": "exec", "command": ["ls"], "env": {"A": "1"}}
    assert items[2]["operation"] == {"type": "create_file", "path": "a", "diff": "+x"}
    assert [item["type"] for item in items] == ["shell_call", "local_shell_call", "apply_patch_call"]


def test_a_refusal_is_a_part_of_its_own() -> None:
    events = streamed(
        chunk({"content": "Well. "}), chunk({"refusal": "I can"}), chunk({"refusal": "not."}), *last()
    )

    assert types(events)[2:-2] == [
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "content_part.added",
        "refusal.delta",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
    ]
    assert [e["content_index"] for e in events if "content_index" in e] == [0] * 4 + [1] * 5
    parts = events[-1]["response"]["output"][0]["content"]
    assert parts[1] == {"type": "refusal", "refusal": "I cannot."}


def test_sources_are_annotations() -> None:
    citation = {"url": "https://a/b", "title": "A", "start_index": 0, "end_index": 4}
    events = streamed(
        chunk({"content": "Yes."}),
        chunk({"annotations": [{"type": "url_citation", "url_citation": citation}]}),
        *last(),
    )

    assert "output_text.annotation.added" in types(events)
    text = events[-1]["response"]["output"][0]["content"][0]
    assert text["annotations"] == [{"type": "url_citation", **citation}]


def test_log_probabilities_belong_to_their_text() -> None:
    token = {
        "token": "Yes",
        "logprob": -0.1,
        "bytes": None,
        "top_logprobs": [{"token": "No", "logprob": -2.0}],
    }
    events = streamed(chunk({"content": "Yes"}, logprobs={"content": [token]}), *last())

    expected = [
        {
            "token": "Yes",
            "logprob": -0.1,
            "bytes": [],
            "top_logprobs": [{"token": "No", "logprob": -2.0, "bytes": []}],
        }
    ]
    assert next(e for e in events if e["type"] == "response.output_text.delta")["logprobs"] == expected
    assert events[-1]["response"]["output"][0]["content"][0]["logprobs"] == expected


@pytest.mark.parametrize(
    ("finish_reason", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_an_answer_that_is_cut_off_is_incomplete(finish_reason: str, reason: str) -> None:
    events = streamed(chunk({"content": "Well"}), *last(finish_reason))

    response = events[-1]["response"]
    assert events[-1]["type"] == "response.incomplete"
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": reason})
    assert response["output"][0]["status"] == "incomplete"


def test_an_answer_without_words_has_an_empty_message() -> None:
    events = streamed(*last())

    assert events[-1]["response"]["output"][0]["content"] == [
        {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    ]


def test_a_failure_ends_the_stream_with_an_error_and_the_failed_response() -> None:
    writer = ResponseEvents(form())
    problem = (
        502,
        {"error": {"message": "gone", "type": "server_error", "param": None, "code": "upstream_error"}},
    )
    written = writer.chunk(Chunk(chunk({"content": "Hel"}))) + writer.failure(problem, "r-1")

    events = events_in(written)
    assert types(events)[-2:] == ["error", "failed"]
    assert (events[-2]["message"], events[-2]["code"]) == ("gone", "upstream_error")
    assert events[-1]["response"]["status"] == "failed"
    assert events[-1]["response"]["error"] == {"code": "server_error", "message": "gone"}


def test_a_failure_before_the_first_chunk_begins_the_response_too() -> None:
    problem = (
        429,
        {"error": {"message": "slow", "type": "requests", "param": None, "code": "rate_limit_exceeded"}},
    )
    events = events_in(ResponseEvents(form()).failure(problem, "r-1"))

    assert types(events) == ["created", "in_progress", "error", "failed"]
    assert events[-1]["response"]["error"]["code"] == "rate_limit_exceeded"


# --- any chunking of an answer


def whole(message: Json, finish_reason: str = "stop", **body: Any) -> Json:
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    response = whole_response(
        {"id": "chatcmpl-1", "model": "small", "choices": [choice], "usage": USAGE}, form(**body)
    )
    Response.model_validate(response)
    return response


def assert_one_item_is_open_at_a_time(events: Sequence[Json]) -> None:
    open_item = None
    for event in events:
        if event["type"] == "response.output_item.added":
            assert open_item is None
            open_item = event["item"]["id"]
        elif event["type"] == "response.output_item.done":
            assert event["item"]["id"] == open_item
            open_item = None
        elif "item_id" in event:
            assert event["item_id"] == open_item
    assert open_item is None


def pieces(rng: random.Random, text: str) -> list[str]:
    cuts = (
        sorted(rng.sample(range(1, len(text)), rng.randint(0, min(5, len(text) - 1))))
        if len(text) > 1
        else []
    )
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def answer_of(rng: random.Random) -> Json:
    words = "Ein Wört, “quoted”\n\U0001f642 and more"
    message: Json = {"role": "assistant"}
    if rng.random() < 0.5:
        message["reasoning_content"] = words[: rng.randint(1, len(words))]
    if rng.random() < 0.7:
        message["content"] = words[rng.randint(0, 10) :]
    if rng.random() < 0.2:
        message["refusal"] = "I cannot."
    names = ["weather", "patch", "agents__wait", "agents__tell", "shell", "invented"]
    arguments = ['{"city":"Oslo"}', '{"input":"x\\ny"}', "{}", "no json", '{"commands":["ls","-l"]}']
    if n_calls := rng.randint(0, 3):
        message["tool_calls"] = [
            {
                "id": f"call_{n}",
                "type": "function",
                "function": {"name": rng.choice(names), "arguments": rng.choice(arguments)},
            }
            for n in range(n_calls)
        ]
    return message


def chunks_of(rng: random.Random, message: Json) -> list[Json]:
    """The message as a stream: its calls may come mixed."""
    chunks = [chunk({"role": "assistant", "content": ""})]
    for name in ("reasoning_content", "content", "refusal"):
        chunks += [chunk({name: piece}) for piece in pieces(rng, message.get(name) or "") if piece]
    fragments: list[list[Json]] = []
    for n, call in enumerate(message.get("tool_calls", [])):
        first = {
            "index": n,
            "id": call["id"],
            "function": {"name": call["function"]["name"], "arguments": ""},
        }
        rest = [
            {"index": n, "function": {"arguments": piece}}
            for piece in pieces(rng, call["function"]["arguments"])
        ]
        fragments.append([first, *rest])
    while any(fragments):
        waiting = (
            next(f for f in fragments if f) if rng.random() < 0.5 else rng.choice([f for f in fragments if f])
        )
        if waiting[0]["index"] and any(f and "id" in f[0] for f in fragments[: waiting[0]["index"]]):
            continue  # calls begin in order
        chunks.append(chunk({"tool_calls": [waiting.pop(0)]}))
    return chunks


@pytest.mark.parametrize("seed", range(60))
def test_any_chunking_of_an_answer_gives_the_same_response(seed: int) -> None:
    rng = random.Random(seed)
    tools = [WEATHER, PATCH, AGENTS, {"type": "shell"}]
    message, reason = answer_of(rng), rng.choice(["stop", "tool_calls", "length"])

    events = streamed(*chunks_of(rng, message), *last(reason), tools=tools)

    assert events[-1]["response"] == whole(message, reason, tools=tools)
    assert_one_item_is_open_at_a_time(events)
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == events[-1]["response"]["output"]


@pytest.mark.parametrize(
    "fragment",
    [
        {"content": "word " * 20},
        {"refusal": "word " * 20},
        {"reasoning_content": "word " * 20},
        {"thinking_blocks": [{"type": "thinking", "thinking": "word " * 20}]},
        {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "weather", "arguments": "word " * 20}}]},
        {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "patch", "arguments": "word " * 20}}]},
    ],
)
def test_the_work_of_a_stream_grows_with_its_length(fragment: Json) -> None:
    def work_of(n: int) -> Callable[[], object]:
        def work() -> None:
            writer = ResponseEvents(form(tools=[WEATHER, PATCH]))
            for _ in range(n):
                writer.chunk(Chunk(chunk(fragment)))
            writer.end()

        return work

    assert_linear(work_of, 300)


# --- the response says what the request set


def test_the_request_is_echoed() -> None:
    sent: Json = {
        "model": "auto",
        "instructions": "Be brief.",
        "tools": [WEATHER],
        "tool_choice": "required",
        "temperature": 0.5,
        "metadata": {"a": "b"},
        "reasoning": {"effort": "low"},
        "text": {"format": {"type": "json_object"}},
        "max_output_tokens": 100,
        "parallel_tool_calls": False,
        "prompt_cache_key": "k",
    }
    response = whole({"content": "Yes."}, **sent)

    assert response["model"] == "small"
    assert response["tools"] == [{**WEATHER, "strict": False}]
    assert response["reasoning"] == {"effort": "low", "summary": None}
    assert response["text"] == {"format": {"type": "json_object"}, "verbosity": "medium"}
    same = ("instructions", "tool_choice", "temperature", "metadata", "max_output_tokens", "prompt_cache_key")
    assert {name: response[name] for name in same} == {name: sent[name] for name in same}


def test_the_explanation_is_in_the_first_and_in_the_last_event() -> None:
    writer = ResponseEvents(form({"why": "cheap"}))
    events = events_in(writer.chunk(Chunk(chunk({"content": "Yes."}))) + writer.end())

    assert events[0]["response"]["router"] == events[-1]["response"]["router"] == {"why": "cheap"}
