from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.basics import Json
from service.errors import ProviderBroken
from tests.service.providers.normaliser.played import (
    asked,
    calls_of,
    chunk,
    message,
    pieces,
    read,
    streamed,
    whole,
)

LISBON, PORTO = '{"city": "Lisbon"}', '{"city": "Porto"}'
ASK = asked("weather", "weather_tomorrow", "time")


def piece(index: int | None = 0, id: object = None, name: str | None = None, text: object = None) -> Json:
    """A piece as OpenAI sends it, without the fields that are None."""
    function = {"name": name, "arguments": text}
    found = {"index": index, "id": id, "function": {k: v for k, v in function.items() if v is not None}}
    return {k: v for k, v in found.items() if v is not None}


def played(*deltas: list[Json] | Json, finish: str = "tool_calls") -> list[tuple[str, str]]:
    """The calls for these deltas, each a list of pieces."""
    chunks = streamed(*(chunk({"tool_calls": d}) for d in deltas), chunk({}, finish), ask=ASK)
    sent = pieces(chunks)
    firsts = [p for p in sent if "id" in p]
    assert [p["index"] for p in firsts] == list(range(len(firsts)))
    assert len({p["id"] for p in firsts}) == len(firsts)
    assert all(p["type"] == "function" and p["function"]["name"] for p in firsts)
    assert read(chunks).choices[0].finish_reason == "tool_calls"
    return calls_of(chunks)


BOTH = [("weather", LISBON), ("weather", PORTO)]


@pytest.mark.parametrize(
    ("deltas", "calls"),
    [
        ([[piece(0, "a", "weather", "")], [piece(0, text=LISBON)]], BOTH[:1]),
        ([[piece(0, "a", "weather", LISBON), piece(1, "b", "weather", PORTO)]], BOTH),
        ([[piece(0, "a", "weather", LISBON)], [piece(0, "b", "weather", PORTO)]], BOTH),
        ([[piece(0, "a", "weather", "")], [piece(0, text=LISBON)], [piece(0, "b", "weather", PORTO)]], BOTH),
        ([[piece(3, "a", "weather", LISBON)], [piece(7, "b", "weather", PORTO)]], BOTH),
        ([[piece(None, "a", "weather", LISBON)], [piece(None, "b", "weather", PORTO)]], BOTH),
        ([[piece(None, "a", "weather", LISBON), piece(None, "b", "weather", PORTO)]], BOTH),
        ([[piece(None, None, "weather", LISBON), piece(None, None, "weather", PORTO)]], BOTH),
        ([[piece(None, None, "weather", LISBON)], [piece(None, None, "weather", PORTO)]], BOTH),
        (
            [[piece(None, None, "weather", LISBON)], [piece(None, None, "time", "{}")]],
            [BOTH[0], ("time", "{}")],
        ),
        ([[piece(0, None, "time")], [piece(0, None, "weather", PORTO)]], [("time", "{}"), BOTH[1]]),
        (
            [[piece(None, "a", "weather")], [piece(None, text=LISBON[:5])], [piece(None, text=LISBON[5:])]],
            BOTH[:1],
        ),
        (
            [[piece(0, "a", "weather")], [piece(0, "b", text=LISBON[:5])], [piece(0, "c", text=LISBON[5:])]],
            BOTH[:1],
        ),
        ([[piece(0, "a", "weather", LISBON)], [piece(1, "a", "weather", PORTO)]], BOTH),
        ([[piece(None, "a", "weather", LISBON)], [piece(None, "a", "weather", PORTO)]], BOTH),
        ([[piece(0, "a", "weather", LISBON[:5])], [piece(0, "a", "weather", LISBON[5:])]], BOTH[:1]),
        ([[piece(0, None, "weather", LISBON[:5])], [piece(0, None, "weather", LISBON[5:])]], BOTH[:1]),
        ([[piece(0, "a", "weather", LISBON)], [piece(0, "a", "weather", LISBON)]], BOTH[:1]),
        (
            [[piece(0, "a", "weather", LISBON[:5])], [piece(0, text=LISBON[5:])], [piece(0, text=LISBON)]],
            BOTH[:1],
        ),
        ([[piece(0, "a", "weather", LISBON)], [piece(0, text={"city": "Lisbon"})]], BOTH[:1]),
        ([[piece(0, "a", "weather", {})], [piece(0, text=LISBON)]], BOTH[:1]),
        (
            [[piece(0, "a", "weather", "{}")], [piece(0, text=LISBON[:9])], [piece(0, text=LISBON[9:])]],
            BOTH[:1],
        ),
        ([[piece(0, "a")], [piece(0, name="weather")], [piece(0, text=LISBON)]], BOTH[:1]),
        ([[piece(0, "a", "weath")], [piece(0, name="er")], [piece(0, text=LISBON)]], BOTH[:1]),
        ([[piece(0, "a", text=LISBON[:5])], [piece(0, name="weather", text=LISBON[5:])]], BOTH[:1]),
        (
            [
                [piece(0, "a", "weather", LISBON[:5])],
                [piece(0, "b", "weather", LISBON[5:9])],
                [piece(0, "c", "weather", LISBON[9:])],
            ],
            BOTH[:1],
        ),
        (
            [
                [piece(0, "a", "weather", LISBON[:2])],
                [piece(0, "a", text=LISBON[:9])],
                [piece(0, "a", text=LISBON)],
            ],
            BOTH[:1],
        ),
        (
            [[piece(0, "a", "weather", '{"a":')], [piece(0, text='{"a":')], [piece(0, text="1}}")]],
            [("weather", '{"a":{"a":1}}')],
        ),
        ([[piece(0, "a", "weather")]], [("weather", "{}")]),
        ([[piece(0, "a", "weather", None)], [piece(0, text=None)]], [("weather", "{}")]),
        ([[piece(0, 7, "weather", LISBON)]], BOTH[:1]),
        ([piece(0, "a", "weather", LISBON)], BOTH[:1]),
        ([[{"index": "1", "id": "a", "name": "weather", "arguments": LISBON}]], BOTH[:1]),
        ([[{"id": "a", "name": "weather", "arguments": {"city": "Lisbon"}}]], BOTH[:1]),
        ([[{}, piece(0, "a", "weather", LISBON), {"index": 1, "function": None}]], BOTH[:1]),
    ],
)
def test_calls_in_odd_pieces_are_the_calls_that_were_meant(
    deltas: list[Any], calls: list[tuple[str, str]]
) -> None:
    assert [(n, orjson.loads(a)) for n, a in played(*deltas)] == [(n, orjson.loads(a)) for n, a in calls]


def test_interleaved_calls_are_told_apart_by_index_or_by_id() -> None:
    by_index = [
        [piece(0, "a", "weather"), piece(1, "b", "weather")],
        *(
            [piece(i, text=text)]
            for pair in zip(LISBON, PORTO.ljust(len(LISBON)), strict=True)
            for i, text in enumerate(pair)
        ),
    ]
    by_id = [
        [piece(None, "a", "weather", LISBON[:4])],
        [piece(None, "b", "weather", PORTO[:4])],
        [piece(None, "a", text=LISBON[4:])],
        [piece(None, "b", text=PORTO[4:])],
    ]

    assert [(n, a.rstrip()) for n, a in played(*by_index)] == BOTH
    assert played(*by_id) == BOTH


def test_sound_pieces_pass_unchanged() -> None:
    sent = [
        {"index": 0, "id": "a", "type": "function", "function": {"name": "weather", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"city"'}},
        {"index": 0, "function": {"arguments": ': "Lisbon"}'}},
        {"index": 1, "id": "b", "type": "function", "function": {"name": "time", "arguments": ""}},
        {"index": 1, "function": {"arguments": "{"}},
        {"index": 1, "function": {"arguments": "}"}},
    ]
    chunks = [chunk({"tool_calls": [p]}) for p in sent]

    assert pieces(streamed(*chunks, chunk({}, "tool_calls"), ask=ASK)) == sent


def test_further_fields_of_a_call_stay_in_its_first_piece() -> None:
    extra = {"extra_content": {"google": {"thought_signature": "x"}}}

    sent = pieces(streamed(chunk({"tool_calls": [piece(0, "a", "weather", LISBON) | extra]}), ask=ASK))

    assert sent[0].items() >= extra.items()


def test_a_custom_tools_input_is_text() -> None:
    custom = {"index": 0, "id": "a", "type": "custom", "custom": {"name": "shell", "input": "ls"}}

    sent = pieces(streamed(chunk({"tool_calls": [custom]}), chunk({}, "stop")))
    answer = whole(message(tool_calls=[{k: v for k, v in custom.items() if k != "index"}]))

    assert sent == [custom]
    assert answer.body["choices"][0]["message"]["tool_calls"][0]["custom"] == {"name": "shell", "input": "ls"}


def test_calls_only_in_the_last_chunk_are_calls() -> None:
    last = chunk({"tool_calls": [piece(0, "a", "weather", LISBON)]}, "stop")

    chunks = streamed(chunk({"content": "Let me see."}), last, ask=ASK)

    assert calls_of(chunks) == BOTH[:1]
    assert read(chunks).choices[0].finish_reason == "tool_calls"


def test_calls_after_the_finish_reason_change_it() -> None:
    late = chunk({"tool_calls": [piece(0, "a", "weather", LISBON)]})

    chunks = streamed(chunk({}, "stop"), late, ask=ASK)

    assert calls_of(chunks) == BOTH[:1]
    assert read(chunks).choices[0].finish_reason == "tool_calls"


def test_arguments_that_were_cut_off_stay_as_they_are() -> None:
    chunks = streamed(chunk({"tool_calls": [piece(0, "a", "weather")]}), chunk({}, "length"), ask=ASK)

    assert calls_of(chunks) == [("weather", "")]
    assert read(chunks).choices[0].finish_reason == "length"


def test_a_call_that_never_gets_a_name_is_a_broken_answer() -> None:
    nameless = piece(0, "a", text=LISBON)

    with pytest.raises(ProviderBroken, match="without its name"):
        streamed(chunk({"tool_calls": [nameless]}), chunk({}, "tool_calls"))
    with pytest.raises(ProviderBroken, match="without its name"):
        whole(message(tool_calls=[nameless]))


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ([{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}], [("f", "{}")]),
        ([{"id": "a", "function": {"name": "f", "arguments": {"x": [1]}}}], [("f", '{"x":[1]}')]),
        ([{"id": "a", "function": {"name": "f", "arguments": None}}], [("f", "{}")]),
        ([{"id": "a", "function": {"name": "f", "arguments": ""}}], [("f", "{}")]),
        ([{"id": "a", "function": {"name": "f", "arguments": []}}], [("f", "{}")]),
        ([{"id": "a", "function": {"name": "f"}}], [("f", "{}")]),
        ([{"name": "f", "arguments": "{}"}], [("f", "{}")]),
        (
            [{"id": "a", "function": {"name": "f"}}, {"id": "a", "function": {"name": "g"}}],
            [("f", "{}"), ("g", "{}")],
        ),
        ({"id": "a", "function": {"name": "f"}}, [("f", "{}")]),
        ([None, {}, {"id": "a", "index": 3, "type": "tool", "function": {"name": "f"}}], [("f", "{}")]),
    ],
)
def test_whole_calls_have_an_id_each_and_arguments_as_a_string(
    calls: object, expected: list[tuple[str, str]]
) -> None:
    answer = whole(message(tool_calls=calls, finish_reason="stop"))

    found = answer.body["choices"][0]["message"]["tool_calls"]
    assert [(c["function"]["name"], c["function"]["arguments"]) for c in found] == expected
    assert len({c["id"] for c in found}) == len(found)
    assert {c["type"] for c in found} == {"function"}
    assert not any("index" in c for c in found)
    assert answer.body["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("calls", [[], None, [{}], "many", [None]])
def test_a_message_without_calls_finishes_with_stop(calls: object) -> None:
    answer = whole(message("hi", tool_calls=calls, finish_reason="tool_calls"))
    chunks = streamed(chunk({"content": "hi", "tool_calls": calls}), chunk({}, "tool_calls"))

    assert not answer.body["choices"][0]["message"].get("tool_calls")
    assert answer.body["choices"][0]["finish_reason"] == "stop"
    assert read(chunks).choices[0].finish_reason == "stop"
    assert not read(chunks).choices[0].message.tool_calls


def test_the_older_function_call_keeps_its_name_and_finish_reason() -> None:
    answer = whole(message(function_call={"name": "f", "arguments": {"a": 1}}))
    chunks = streamed(
        chunk({"function_call": {"name": "f", "arguments": None}}),
        chunk({"function_call": {"arguments": '{"a":1}'}}),
        chunk({}, "stop"),
    )

    assert answer.body["choices"][0]["message"]["function_call"] == {"name": "f", "arguments": '{"a":1}'}
    assert answer.body["choices"][0]["finish_reason"] == "function_call"
    found = read(chunks).choices[0]
    assert found.message.function_call is not None
    assert (found.message.function_call.name, found.message.function_call.arguments) == ("f", '{"a":1}')
    assert found.finish_reason == "function_call"


objects = st.dictionaries(st.sampled_from("abc"), st.text('{}"\\ é😀,:', max_size=6), min_size=1, max_size=3)


@st.composite
def odd_streams(draw: st.DrawFn) -> tuple[list[tuple[str, str]], list[list[Json]]]:
    """Calls, and deltas in one of the odd ways in which providers send them."""
    calls = [
        (draw(st.sampled_from(["weather", "time"])), orjson.dumps(o).decode())
        for o in draw(st.lists(objects, min_size=1, max_size=3, unique_by=orjson.dumps))
    ]
    has_index, has_id = draw(st.booleans()), draw(st.booleans())
    is_one_index = draw(st.booleans()) and has_id
    repeats_id, repeats_name, repeats_all = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    found: list[list[Json]] = []
    for position, (name, text) in enumerate(calls):
        index = (0 if is_one_index else position) if has_index else None
        call_id = f"call_{position}" if has_id else None
        cuts = sorted(draw(st.sets(st.integers(1, len(text) - 1), max_size=3)))
        parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        for i, part in enumerate(parts):
            head = i == 0
            found.append(
                [
                    piece(
                        index,
                        call_id if head or repeats_id else None,
                        name if head or (repeats_name and has_id and repeats_id) else None,
                        part,
                    )
                ]
            )
        if repeats_all and has_id:
            found.append([piece(index, call_id, name, text)])
    return calls, found


@given(odd_streams())
def test_any_way_of_sending_calls_gives_the_same_calls(
    stream: tuple[list[tuple[str, str]], list[list[Json]]],
) -> None:
    calls, deltas = stream

    assert played(*deltas) == calls
