from __future__ import annotations

import copy
from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.answer import Usage
from service.domain.basics import Json
from service.errors import ProviderBroken
from service.providers.normaliser.assembly import assembled
from tests.service.providers.normaliser.played import (
    asked,
    chunk,
    deltas,
    frame,
    message,
    read,
    streamed,
)

HI, STOP = chunk({"content": "hi"}), chunk({}, "stop")
COUNTS = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}


@pytest.mark.parametrize(
    "late",
    [
        chunk({"content": "hi"}, usage=COUNTS),
        chunk({"content": "hi"}, x_groq={"usage": COUNTS}),
        frame([{"index": 0, "delta": {"content": "hi"}, "finish_reason": None, "usage": COUNTS}]),
    ],
)
def test_usage_beside_a_late_piece_of_text_is_found(late: Json) -> None:
    *pieces, last = streamed(HI, HI, HI, late, HI, STOP)

    assert all(piece.body.get("usage") is None for piece in pieces)
    assert last.usage == Usage(9, 0, 2)


def test_an_error_beside_a_late_piece_of_text_is_found() -> None:
    with pytest.raises(ProviderBroken):
        streamed(HI, HI, chunk({"content": "hi"}, error={"message": "overloaded"}), STOP)


def test_sound_chunks_pass_unchanged() -> None:
    sent = [
        chunk({"role": "assistant", "content": "", "refusal": None}, service_tier="flex"),
        chunk({"content": "hi"}, system_fingerprint="fp", x={"y": [1]}),
        frame([{"index": 0, "delta": {"content": "!"}, "logprobs": {"content": []}, "finish_reason": None}]),
        chunk({"reasoning_content": "Hm."}),
        STOP,
    ]

    chunks = streamed(*copy.deepcopy(sent), frame([], usage=COUNTS))

    assert [c.body for c in chunks[:-1]] == sent
    assert chunks[-1].body["usage"] == COUNTS
    assert chunks[-1].usage == Usage(9, 0, 2)


@pytest.mark.parametrize(
    "odd",
    [
        chunk({"content": "hi"}, index=None),
        chunk({"content": "hi"}, index="0"),
        chunk([{"type": "text", "text": "hi"}]),
        chunk("hi"),
        frame([{"delta": {"content": "hi"}}]),
        frame([{"index": 0, "text": "hi", "finish_reason": None}]),
        frame([{"index": 0, "message": {"role": "assistant", "content": "hi"}}]),
        frame([{"index": 0, "delta": None, "message": {"content": "hi"}}]),
        frame({"index": 0, "delta": {"content": "hi"}}),
        frame({"0": {"index": 0, "delta": {"content": "hi"}}}),
        chunk({"content": "hi", "tool_calls": []}, error=None),
        chunk({"content": "hi", "reasoning": None, "function_call": None}, error={"message": ""}),
        chunk({"content": "hi"}, object="chat.completion"),
        chunk({"content": "hi"}, object=None, id=None, created=None),
        chunk({"content": "hi"}, created=1.5),
        chunk({"content": "hi"}, error={"code": 0, "message": "success"}),
    ],
    ids=range(16),
)
def test_an_odd_chunk_has_openais_form(odd: Json) -> None:
    chunks = streamed(odd, STOP)

    found = read(chunks)
    assert (found.choices[0].message.content, found.choices[0].finish_reason) == ("hi", "stop")
    assert len({c.body["id"] for c in chunks}) == 1


@pytest.mark.parametrize("delta", [None, {}])
def test_a_choice_without_a_delta_says_nothing(delta: object) -> None:
    missing = frame([{"index": 0, "finish_reason": None}])

    assert deltas(streamed(frame([{"index": 0, "delta": delta}]), missing, HI, STOP)) == [
        {},
        {},
        {"content": "hi"},
        {},
    ]


def test_a_provider_that_counts_choices_from_one_is_renumbered_unless_several_were_asked_for() -> None:
    events = [chunk({"content": "hi"}, index=1), chunk({}, "stop", index=1)]

    one = streamed(*copy.deepcopy(events))
    two = streamed(*copy.deepcopy(events), copy.deepcopy(HI), copy.deepcopy(STOP), ask=asked(n=2))

    assert [c.body["choices"][0]["index"] for c in one[:-1]] == [0, 0]
    assert [c.body["choices"][0]["index"] for c in two[:-1]] == [1, 1, 0, 0]


def test_the_first_id_of_a_stream_stays() -> None:
    chunks = streamed(HI, HI | {"id": "c-2", "choices": copy.deepcopy(HI["choices"])}, STOP | {"id": ""})

    assert {c.body["id"] for c in chunks} == {"c-1"}


@pytest.mark.parametrize(
    "event",
    [
        b"ping",
        b"null",
        {"status": "processing"},
        {"type": "ping"},
        {"object": "ping", "error": None},
        {"choices": None},
        {"choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
        {"x_groq": {"id": "r"}},
        {"id": "c-1", "object": "chat.completion.chunk", "model": "m"},
    ],
    ids=range(9),
)
def test_an_event_that_holds_nothing_is_passed_over(event: object) -> None:
    chunks = streamed(event, copy.deepcopy(HI), event, copy.deepcopy(STOP), event)

    assert [len(c.body["choices"]) for c in chunks] == [1, 1, 0]


@pytest.mark.parametrize(
    "event",
    [
        {"usage": COUNTS},
        {"choices": None, "usage": COUNTS},
        {"choices": [], "usage": COUNTS},
        {"x_groq": {"usage": COUNTS}},
        frame([{"index": 0, "delta": {}, "finish_reason": None, "usage": COUNTS}]),
        frame([], usage=COUNTS),
    ],
    ids=range(6),
)
def test_usage_is_read_wherever_it_is(event: Json) -> None:
    zero = {"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0}}

    chunks = streamed(copy.deepcopy(HI), copy.deepcopy(STOP), copy.deepcopy(event), zero)

    assert chunks[-1].usage == Usage(9, 0, 2)
    assert chunks[-1].body["usage"] == COUNTS


@pytest.mark.parametrize(
    "error",
    [
        {"error": {"message": "overloaded"}},
        {"error": "overloaded"},
        {"error": True},
        frame([{"index": 0, "delta": {}, "finish_reason": None}], error={"code": 502}),
        frame([{"index": 0, "delta": {}, "error": {"message": "gone"}}]),
        {"object": "error", "message": "overloaded"},
        {"type": "error", "error": {"type": "overloaded_error", "message": "overloaded"}},
        {"detail": "overloaded"},
        {"errors": [{"message": "overloaded"}]},
        {"message": "overloaded", "code": 503},
        {"message": "overloaded", "status": "503"},
        {"message": "overloaded", "code": "server_error"},
        [{"error": {"message": "overloaded"}}],
        b"Internal Server Error",
        b"<html>",
        b"{nonsense",
        b"7",
        frame("many"),
        frame(["one"]),
    ],
    ids=range(19),
)
def test_an_error_in_any_shape_is_a_failure(error: object) -> None:
    with pytest.raises(ProviderBroken, match="no answer"):
        streamed(copy.deepcopy(HI), error, copy.deepcopy(STOP))


def test_done_after_content_says_that_the_answer_is_whole() -> None:
    chunks = streamed(chunk({"content": "a"}), chunk({"content": "b"}, index=1))

    assert [c.finish_reason for c in read(chunks).choices] == ["stop", "stop"]
    assert chunks[-1].notes == ("the stream ended without a finish reason",) * 2


def test_a_sound_answer_has_no_notes() -> None:
    assert streamed(copy.deepcopy(HI), copy.deepcopy(STOP))[-1].notes == ()


@pytest.mark.parametrize(
    ("events", "done"),
    [
        ([], True),
        ([{"usage": COUNTS}], True),
        ([chunk({"role": "assistant"})], True),
        ([chunk({"role": "assistant", "content": ""})], True),
        ([HI], False),
        ([HI, {"usage": COUNTS}], False),
        ([chunk({"content": "a"}, index=1), chunk({"content": "b"}, "stop")], True),
    ],
)
def test_what_is_cut_off_or_empty_is_no_answer(events: list[Json], done: bool) -> None:
    with pytest.raises(ProviderBroken):
        streamed(*copy.deepcopy(events), done=done)


def test_a_whole_answer_in_a_stream_becomes_chunks() -> None:
    call = {"id": "a", "function": {"name": "f", "arguments": {"x": 1}}}
    raw = message([{"type": "text", "text": "hi"}], tool_calls=[call]) | {"usage": COUNTS}

    chunks = streamed(raw, done=False)

    found = read(chunks).choices[0]
    assert (found.message.content, found.finish_reason) == ("hi", "tool_calls")
    assert chunks[-1].usage == Usage(9, 0, 2)


def test_a_whole_answer_at_the_end_of_a_stream_repeats_nothing() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    end = message("hi", tool_calls=[call])

    chunks = streamed(chunk({"role": "assistant", "content": "h"}), chunk({"content": "i"}), end)

    found = read(chunks).choices[0]
    assert found.message.content == "hi"
    assert [c.function.name for c in found.message.tool_calls or []] == ["f"]  # type: ignore[union-attr]
    assert found.finish_reason == "tool_calls"


@given(st.text(max_size=12), st.text(max_size=12), st.sets(st.integers(1, 11)), st.data())
def test_any_split_of_an_answer_is_assembled_to_the_same_answer(
    content: str, thoughts: str, cuts: set[int], data: st.DataObject
) -> None:
    def split(text: str) -> list[str]:
        bounds = [0, *sorted(c for c in cuts if c < len(text)), len(text)]
        return [text[a:b] for a, b in pairwise(bounds)]

    forms = st.sampled_from(["delta", "message", "parts", "text"])
    events: list[Json] = [chunk({"reasoning": piece}) for piece in split(thoughts)]
    for piece in split(content):
        form = data.draw(forms)
        if form == "delta":
            events.append(chunk({"content": piece}))
        elif form == "parts":
            events.append(chunk({"content": [{"type": "text", "text": piece}]}))
        else:
            value = piece if form == "text" else {"content": piece}
            events.append(frame([{"index": 0, form: value}]))

    answer = assembled(streamed(*events, copy.deepcopy(STOP), frame([], usage=COUNTS)))

    found = answer.body["choices"][0]["message"]
    assert (found["content"] or "", found.get("reasoning_content") or "") == (content, thoughts)
    assert answer.body["choices"][0]["finish_reason"] == "stop"
    assert answer.usage == Usage(9, 0, 2)


NAMES = (
    *("choices", "delta", "message", "content", "tool_calls", "function", "name", "arguments", "index", "id"),
    *("finish_reason", "type", "text", "usage", "prompt_tokens", "object", "reasoning"),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=20,
)


@given(st.lists(json_values | st.builds(lambda c: frame([c]), json_values), max_size=4))
def test_whatever_a_provider_sends_the_client_gets_openais_form_or_an_error(events: list[object]) -> None:
    try:
        chunks = streamed(*events, ask=asked("f"))
    except ProviderBroken:
        return

    for each in chunks[:-1]:
        for choice in each.body["choices"]:
            assert type(choice["index"]) is int
            assert isinstance(choice["delta"], dict)
            assert choice["finish_reason"] in (
                None,
                "stop",
                "length",
                "tool_calls",
                "content_filter",
                "function_call",
            )
            for piece in choice["delta"].get("tool_calls", []):
                assert type(piece["index"]) is int
                assert isinstance(piece.get("function", piece.get("custom")), dict)
    orjson.dumps([each.body for each in chunks])
    assert chunks[-1].usage is not None
    assembled(chunks)
