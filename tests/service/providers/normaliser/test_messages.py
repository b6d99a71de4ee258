"""Answers in Anthropic's dialect that are not quite Anthropic's, read as Anthropic's own library does."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import orjson
import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from service.domain.answer import Answer, Chunk, Usage
from service.domain.basics import Json
from service.errors import ProviderBroken
from service.providers.normaliser.message_stream import MessageStream, read_message
from tests.service.providers.normaliser.played import asked

COUNTS = {"input_tokens": 9, "output_tokens": 2}
EVENTS: TypeAdapter[RawMessageStreamEvent] = TypeAdapter(RawMessageStreamEvent)


def message(content: object = "hi", **more: object) -> Json:
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": blocks,
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": COUNTS,
    } | more


def start(**more: object) -> Json:
    return {
        "type": "message_start",
        "message": message([], stop_reason=None, usage={"input_tokens": 9, "output_tokens": 1}) | more,
    }


def block(index: object = 0, **block: object) -> Json:
    return {
        "type": "content_block_start",
        "index": index,
        "content_block": block or {"type": "text", "text": ""},
    }


def delta(index: object = 0, **delta: object) -> Json:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def text(value: object, index: object = 0) -> Json:
    return delta(index, type="text_delta", text=value)


def ended(index: object = 0) -> Json:
    return {"type": "content_block_stop", "index": index}


def stopped(reason: object = "end_turn", **more: object) -> Json:
    stop = {"stop_reason": reason, "stop_sequence": None}
    return {"type": "message_delta", "delta": stop, "usage": {"output_tokens": 2}} | more


END = {"type": "message_stop"}
HI = [block(), text("hi"), ended()]


def without(event: Json, name: str) -> Json:
    return {key: value for key, value in event.items() if key != name}


def as_bytes(events: Iterable[object]) -> list[bytes]:
    return [event if isinstance(event, bytes) else orjson.dumps(event) for event in events]


def streamed(*events: object) -> list[Chunk]:
    stream = MessageStream(asked())
    chunks = [chunk for data in as_bytes(events) for chunk in stream.event(data)]
    return [*chunks, *stream.end()]


def read(chunks: list[Chunk]) -> Message:
    """What Anthropic's library makes of the events; it validates each of them."""
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    for chunk in chunks:
        assert chunk.native is not None
        name, data = chunk.native.removesuffix(b"\n\n").split(b"\n", 1)
        raw = orjson.loads(data.removeprefix(b"data: "))
        assert name == b"event: " + raw["type"].encode()
        if raw["type"].startswith(("message", "content")):
            event = EVENTS.validate_python(raw)
            snapshot = accumulate_event(event=event, current_snapshot=snapshot, json_bufs=buffers)
    return Message.model_validate(snapshot.model_dump(warnings=False))


def whole(*events: object) -> Answer:
    """The answer of the same stream in place of a whole message."""
    return read_message(asked(), b"".join(b"data: %s\n\n" % data for data in as_bytes(events)))


@pytest.mark.parametrize(
    "events",
    [
        [start(), *HI, stopped(), END],
        [
            {"type": "ping"},
            start(),
            {"type": "ping"},
            *HI,
            {"type": "event_of_tomorrow"},
            stopped(),
            END,
            END,
        ],
        [start(content=None), *HI, stopped(), END],
        [start(usage=None), *HI, stopped(usage=COUNTS), END],
        [{"type": "message_start"}, *HI, stopped(usage=COUNTS), END],
        [*HI, stopped(usage=COUNTS), END],
        [start(), block(None), text("hi", None), ended(None), stopped(), END],
        [
            start(),
            without(block(), "index"),
            without(text("hi"), "index"),
            without(ended(), "index"),
            stopped(),
            END,
        ],
        [start(), block(1), text("hi", 1), ended(1), stopped(), END],
        [start(), {**block(), "content_block": None}, text("hi"), ended(), stopped(), END],
        [start(), block(type="text", text=None), text("h"), text(None), text("i"), ended(), stopped(), END],
        [start(), text("hi"), ended(), stopped(), END],
        [start(), block(), text("hi"), stopped(), END],
        [start(), *HI, ended(), stopped(), END],
        [start(), *HI, stopped()],
        [start(), *HI, stopped(), b"[DONE]"],
        [start(), *HI, b"[DONE]"],
        [start(), *HI, END],
        [start(), *HI, stopped("stop"), END],
        [start(), *HI, stopped(usage=None), END],
        [
            start(),
            *HI,
            {"type": "message_delta", "delta": None, "usage": {"output_tokens": 2}},
            stopped(),
            END,
        ],
        [start(), start(), *HI, stopped(), END],
        [message()],
        [{**message(), "content": "hi"}],
    ],
    ids=range(24),
)
def test_an_odd_message_has_anthropics_form(events: list[Json]) -> None:
    chunks = streamed(*copy.deepcopy(events))
    answer = whole(*copy.deepcopy(events))

    assert answer.native is not None
    for found in (read(chunks), Message.model_validate(answer.native)):
        assert [(b.type, b.text) for b in found.content] == [("text", "hi")]  # type: ignore[union-attr]
        assert found.stop_reason == "end_turn"
        assert found.usage.output_tokens > 0
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.completion_tokens > 0
    assert chunks[-1].usage == answer.usage


def test_sound_events_pass_byte_for_byte() -> None:
    sent = [b'{"type": "ping"}', *as_bytes(HI), orjson.dumps(stopped()), b'{ "type":"message_stop" }']

    chunks = streamed(start(), *sent)

    assert [c.native.split(b"data: ", 1)[1][:-2] for c in chunks[1:] if c.native] == sent
    assert chunks[-1].notes == ()


def test_a_missing_end_is_noted_and_a_missing_stop_is_cut_off() -> None:
    assert streamed(start(), *HI, b"[DONE]")[-1].notes == ("the stream ended without a stop reason",)
    for events in ([start(), *HI], [start(), b"[DONE]"], [], [b"[DONE]"], [block()]):
        with pytest.raises(ProviderBroken):
            streamed(*events)


USE = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}


@pytest.mark.parametrize(
    ("uses", "reason"),
    [
        ([USE], "end_turn"),
        ([USE], "tool_use"),
        ([USE, USE], "tool_use"),
        ([USE, without(USE, "id")], "tool_calls"),
        ([{**USE, "input": None}], "tool_use"),
        ([{**USE, "input": '{"a": 1}'}], "tool_use"),
    ],
)
def test_calls_have_an_id_each_and_say_so_at_the_end(uses: list[Json], reason: str) -> None:
    events = [
        event
        for index, use in enumerate(uses)
        for event in (
            block(index, **use),
            delta(index, type="input_json_delta", partial_json='{"a": 1}'),
            ended(index),
        )
    ]

    found = read(streamed(start(), *events, stopped(reason), END))
    answer = read_message(
        asked(),
        orjson.dumps(message([{**u, "input": u["input"] or {"a": 1}} for u in uses], stop_reason=reason)),
    )

    assert answer.native is not None
    for each in (found, Message.model_validate(answer.native)):
        assert [(b.name, b.input) for b in each.content] == [("f", {"a": 1})] * len(uses)  # type: ignore[union-attr]
        assert len({b.id for b in each.content}) == len(uses)  # type: ignore[union-attr]
        assert each.stop_reason == "tool_use"


def test_a_message_without_calls_does_not_stop_for_tools() -> None:
    assert read(streamed(start(), *HI, stopped("tool_use"), END)).stop_reason == "end_turn"


@pytest.mark.parametrize(
    "reason", ["max_tokens", "stop_sequence", "pause_turn", "refusal", "reason_of_tomorrow"]
)
def test_anthropics_own_stop_reasons_stay(reason: str) -> None:
    chunks = streamed(start(), *HI, stopped(reason), END)
    answer = read_message(asked(), orjson.dumps(message(stop_reason=reason)))

    assert b'"stop_reason":"%s"' % reason.encode() in (chunks[-2].native or b"")
    assert answer.native is not None
    assert answer.native["stop_reason"] == reason


@pytest.mark.parametrize(
    "events",
    [
        [start(), {"type": "error", "error": {"type": "overloaded_error", "message": "no"}}],
        [start(), {"error": {"message": "no"}}],
        [start(), *HI, stopped("error"), END],
        [start(), block(type="tool_use", id="a")],
        [start(), delta(type="input_json_delta", partial_json="{}")],
        [start(), b"{no json"],
        [start(), b"7"],
        [{"type": "message"}],
        [b"<html>"],
    ],
)
def test_what_is_no_message_is_a_failure(events: list[object]) -> None:
    with pytest.raises(ProviderBroken):
        streamed(*events)
    with pytest.raises(ProviderBroken):
        whole(*events)


@pytest.mark.parametrize(
    "data", [b'{"type":"message","content":"x" trailing', b"<html>", b"", b"[]", b"null"]
)
def test_a_body_that_is_no_message_is_a_failure(data: bytes) -> None:
    with pytest.raises(ProviderBroken):
        read_message(asked(), data)


def test_zero_counts_are_replaced_by_an_estimate() -> None:
    zero = {"input_tokens": 0, "output_tokens": 0}

    answer = read_message(asked(), orjson.dumps(message(usage=zero)))
    chunks = streamed(start(usage=zero), *HI, stopped(usage=zero), END)

    assert answer.usage.estimated
    assert answer.native is not None
    assert answer.native["usage"]["input_tokens"] == answer.usage.prompt_tokens > 0
    assert chunks[-1].usage == answer.usage


def test_a_later_zero_erases_no_count() -> None:
    chunks = streamed(start(), *HI, stopped(usage={"input_tokens": 0, "output_tokens": 2}), END)

    assert chunks[-1].usage == Usage(9, 0, 2)


def test_a_whole_message_in_place_of_a_stream_keeps_every_block() -> None:
    blocks: list[Json] = [
        {"type": "thinking", "thinking": "Hm.", "signature": "EqQ="},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "text", "text": "I call."},
        {**USE, "input": {"a": [1]}},
    ]
    sent = message(blocks, stop_reason="tool_use")

    found = read(streamed(sent))

    assert [b.model_dump(exclude_none=True) for b in found.content] == blocks
    assert found.stop_reason == "tool_use"
    answer = whole(sent)
    assert answer.native == {**sent, "model": "an-arm"}


@given(st.text(max_size=9), st.sets(st.integers(1, 20)))
def test_a_text_may_be_split_between_any_code_units(content: str, cuts: set[int]) -> None:
    units = content.encode("utf-16-be")
    bounds = [0, *sorted(c for c in cuts if c < len(units) // 2), len(units) // 2]
    pieces = [
        b"".join(rb"\u%04x" % int.from_bytes(units[2 * i : 2 * i + 2], "big") for i in range(a, b))
        for a, b in pairwise(bounds)
    ]
    raw = [
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%s"}}' % p
        for p in pieces
    ]

    for found in (
        read(streamed(start(), block(), *raw, ended(), stopped(), END)),
        Message.model_validate(whole(start(), block(), *raw, ended(), stopped(), END).native),
    ):
        assert [b.text for b in found.content] == [content]  # type: ignore[union-attr]


def test_a_lone_half_is_replaced() -> None:
    half = rb'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a\ud83d"}}'

    found = read(streamed(start(), block(), half, ended(), stopped(), END))

    assert [b.text for b in found.content] == ["a\ufffd"]  # type: ignore[union-attr]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "index", "delta", "text", "content", "message", "usage", "input", "name", "id"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
KINDS = (
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
    "ping",
    "message",
)


@given(
    st.lists(
        json_values
        | st.builds(
            lambda k, v: {**(v if isinstance(v, dict) else {}), "type": k},
            st.sampled_from(KINDS),
            json_values,
        ),
        max_size=5,
    )
)
def test_whatever_a_provider_sends_the_client_gets_anthropics_form_or_an_error(events: list[object]) -> None:
    try:
        chunks = streamed(*events)
    except ProviderBroken:
        return

    kinds = [orjson.loads((c.native or b"").split(b"data: ", 1)[1])["type"] for c in chunks]
    assert kinds.count("message_start") <= 1
    assert kinds.count("content_block_start") == kinds.count("content_block_stop")
    assert kinds[-1] == "message_stop"
