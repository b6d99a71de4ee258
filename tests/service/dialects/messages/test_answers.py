from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.dialects.messages.answers import message
from service.dialects.messages.blocks import NO_EXTRAS, AnswerForm
from service.dialects.messages.events import MessageEvents
from service.domain.answer import Chunk, Usage
from service.domain.basics import Json
from service.domain.usage import reported

USAGE = Usage(prompt_tokens=100, cached_tokens=30, completion_tokens=7)
COUNTED = {
    "input_tokens": 70,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 30,
    "output_tokens": 7,
}

DEEP = '{"a":' * 300 + "1" + "}" * 300  # orjson reads it, but does not write it


def call(name: str | None = None, arguments: str = "", *, index: int = 0, **more: object) -> Json:
    function = {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
    return {"index": index, "function": function, **more}


def completion(finish_reason: str = "stop", **fields: object) -> Json:
    choice = {"index": 0, "message": {"role": "assistant", **fields}, "finish_reason": finish_reason}
    return {"id": "c-1", "model": "small", "choices": [choice], "usage": reported(USAGE)}


def chunk(finish_reason: str | None = None, **delta: object) -> Chunk:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return Chunk({"id": "c-1", "model": "small", "choices": [choice]})


def written(*chunks: Chunk, usage: Usage = USAGE, form: AnswerForm = NO_EXTRAS) -> list[Json]:
    """The events of these chunks and of the closing chunk."""
    writer = MessageEvents(n_prompt_tokens=90, form=form)
    closing = Chunk({"choices": [], "usage": reported(usage)}, usage)
    raw = b"".join(writer.take(chunk) for chunk in [*chunks, closing]) + writer.end()
    events = []
    for block in raw.decode().removesuffix("\n\n").split("\n\n"):
        first, second = block.split("\n")
        data = orjson.loads(second.removeprefix("data: "))
        assert first == f"event: {data['type']}"
        events.append(data)
    return events


DELTAS = {
    "text": ("text_delta",),
    "tool_use": ("input_json_delta",),
    "thinking": ("thinking_delta", "signature_delta"),
}


def blocks_of(events: list[Json]) -> list[Json]:
    """The content blocks of the events, read as a client reads them; checks every rule of order."""
    assert [e["type"] for e in events].count("message_start") == 1
    assert events[0]["type"] == "message_start"
    assert [e["type"] for e in events[-2:]] == ["message_delta", "message_stop"]
    blocks: list[Json] = []
    is_open = False
    for event in events[1:-2]:
        if event["type"] == "content_block_start":
            assert not is_open
            assert event["index"] == len(blocks)
            is_open = True
            blocks.append({**event["content_block"], "json": ""})
        else:
            assert is_open
            assert event["index"] == len(blocks) - 1
            is_open = event["type"] != "content_block_stop"
            delta = event.get("delta", {})
            if delta:
                assert delta["type"] in DELTAS[blocks[-1]["type"]]
                texts = [delta.get(name, "") for name in ("text", "partial_json", "thinking")]
                blocks[-1]["json"] += "".join(texts)
                blocks[-1] |= {"signature": delta["signature"]} if "signature" in delta else {}
    assert not is_open
    return blocks


# --- whole answers


@pytest.mark.parametrize(
    ("finish_reason", "fields", "content", "stop_reason"),
    [
        ("stop", {"content": "Hi"}, [{"type": "text", "text": "Hi"}], "end_turn"),
        ("length", {"content": "Hi"}, [{"type": "text", "text": "Hi"}], "max_tokens"),
        ("content_filter", {"content": None}, [], "refusal"),
        ("stop", {"content": None, "refusal": "No."}, [{"type": "text", "text": "No."}], "refusal"),
        (
            "tool_calls",
            {"content": "I add.", "tool_calls": [call("add", '{"a": 1}', id="call_1")]},
            [
                {"type": "text", "text": "I add."},
                {"type": "tool_use", "id": "call_1", "name": "add", "input": {"a": 1}},
            ],
            "tool_use",
        ),
        (
            "tool_calls",
            {"content": None, "tool_calls": [call("add", "", id="call_1")]},
            [{"type": "tool_use", "id": "call_1", "name": "add", "input": {}}],
            "tool_use",
        ),
        (
            "tool_calls",
            {"tool_calls": [call("add", '{"a": ', id="call_1")]},
            [{"type": "tool_use", "id": "call_1", "name": "add", "input": {"arguments": '{"a": '}}],
            "tool_use",
        ),
        (
            "tool_calls",
            {"tool_calls": [call("add", DEEP, id="call_1")]},
            [{"type": "tool_use", "id": "call_1", "name": "add", "input": {"arguments": DEEP}}],
            "tool_use",
        ),
        ("something_new", {"content": "Hi"}, [{"type": "text", "text": "Hi"}], "something_new"),
    ],
)
def test_a_completion_becomes_a_message(
    finish_reason: str, fields: Json, content: list[Json], stop_reason: str
) -> None:
    assert message(completion(finish_reason, **fields)) == {
        "id": "msg_c-1",
        "type": "message",
        "role": "assistant",
        "model": "small",
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": COUNTED,
    }


def test_a_tool_call_without_an_id_gets_one() -> None:
    used = message(completion(tool_calls=[call("add")]))["content"][0]["id"]

    assert used.startswith("toolu_")


# --- streams


def test_the_events_of_a_text() -> None:
    events = written(
        chunk(role="assistant", content=""), chunk(content="Hel"), chunk(content="lo"), chunk("stop")
    )

    assert events == [
        {
            "type": "message_start",
            "message": {
                "id": "msg_c-1",
                "type": "message",
                "role": "assistant",
                "model": "small",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": {
                    "input_tokens": 90,
                    "cache_creation_input_tokens": 0,
                    "cache_read_input_tokens": 0,
                    "output_tokens": 0,
                },
            },
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hel"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": COUNTED,
        },
        {"type": "message_stop"},
    ]


def test_the_blocks_of_text_and_tools() -> None:
    events = written(
        chunk(content="I add."),
        chunk(tool_calls=[call("add", id="call_1")]),
        chunk(tool_calls=[call(arguments='{"a":')]),
        chunk(tool_calls=[call("sub", id="call_2", index=1)]),
        chunk(tool_calls=[call(arguments="1}"), call(arguments='{"b":2}', index=1)]),
        chunk("tool_calls"),
    )

    assert blocks_of(events) == [
        {"type": "text", "text": "", "json": "I add."},
        {"type": "tool_use", "id": "call_1", "name": "add", "input": {}, "json": '{"a":1}'},
        {"type": "tool_use", "id": "call_2", "name": "sub", "input": {}, "json": '{"b":2}'},
    ]
    assert events[-2]["delta"]["stop_reason"] == "tool_use"


def test_thinking_that_the_client_did_not_enable_is_left_out() -> None:
    events = written(chunk(reasoning_content="hm"), chunk(content="Hi"), chunk("stop"))

    assert blocks_of(events) == [{"type": "text", "text": "", "json": "Hi"}]
    assert message(completion(content="Hi", reasoning_content="hm"))["content"] == [
        {"type": "text", "text": "Hi"}
    ]


def test_an_empty_answer_is_a_message_without_blocks() -> None:
    events = written(chunk("content_filter"))

    assert blocks_of(events) == []
    assert events[-2]["delta"]["stop_reason"] == "refusal"


FRAGMENTS = st.lists(
    st.tuples(st.just("text"), st.text(min_size=1, max_size=3))
    | st.tuples(st.integers(0, 2), st.text(max_size=3)),
    max_size=12,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(FRAGMENTS)
def test_fragments_in_any_order_become_ordered_blocks_without_loss(
    fragments: list[tuple[Any, str]],
) -> None:
    seen: dict[Any, str] = {}
    chunks = []
    for key, text in fragments:
        first = {"id": f"call_{key}"} if key not in seen else {}
        seen[key] = seen.get(key, "") + text
        named = f"tool_{key}" if first else None
        delta = (
            {"content": text} if key == "text" else {"tool_calls": [call(named, text, index=key, **first)]}
        )
        chunks.append(chunk(**delta))

    blocks = blocks_of(written(*chunks, chunk("stop")))

    texts = "".join(block["json"] for block in blocks if block["type"] == "text")
    calls = {block["name"]: block["json"] for block in blocks if block["type"] == "tool_use"}
    assert texts == seen.pop("text", "")
    assert calls == {f"tool_{key}": text for key, text in seen.items()}


# --- stop sequences


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("told", "finish_reason", "stop_reason", "stop_sequence"),
    [
        ({"stop_reason": "END"}, "stop", "stop_sequence", "END"),
        ({"matched_stop": "END"}, "stop", "stop_sequence", "END"),
        ({"stop_reason": None, "matched_stop": "END"}, "stop", "stop_sequence", "END"),
        ({"stop_reason": "\n\n"}, "stop", "stop_sequence", "\n\n"),
        ({"stop_reason": 2}, "stop", "end_turn", None),  # vLLM: the id of a token
        ({"stop_reason": "eos"}, "stop", "end_turn", None),  # not one of the request
        ({"stop_reason": ["END"]}, "stop", "end_turn", None),
        ({"stop_reason": "END"}, "length", "max_tokens", None),
        ({"stop_reason": "END"}, "content_filter", "refusal", None),
        ({}, "stop", "end_turn", None),
    ],
)
def test_a_stop_sequence_that_the_server_names_is_told(
    stream: bool, told: Json, finish_reason: str, stop_reason: str, stop_sequence: str | None
) -> None:
    form = AnswerForm(stop_sequences=("END", "\n\n"))
    if stream:
        last = chunk(finish_reason)
        last.body["choices"][0] |= told
        told_to_client = written(chunk(content="Hi"), last, form=form)[-2]["delta"]
    else:
        body = completion(finish_reason, content="Hi")
        body["choices"][0] |= told
        told_to_client = message(body, form)

    assert (told_to_client["stop_reason"], told_to_client["stop_sequence"]) == (stop_reason, stop_sequence)


# --- errors
