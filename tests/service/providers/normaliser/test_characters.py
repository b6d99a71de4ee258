from __future__ import annotations

from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.basics import Json
from service.providers.normaliser.json_values import lenient_values
from tests.service.providers.normaliser.played import asked, calls_of, chunk, deltas, read, streamed

FIRST, SECOND = rb"\ud83d", rb"\udd25"  # of the fire


def event(delta: bytes, finish: bytes = b"null") -> bytes:
    return b'{"id":"c-1","choices":[{"index":0,"delta":%s,"finish_reason":%s}]}' % (delta, finish)


def said(*texts: bytes, field: bytes = b"content") -> str | None:
    """The text of these pieces, which may have escapes."""
    events = [event(b'{"%s":"%s"}' % (field, text)) for text in texts]
    chunks = streamed(*events, event(b"{}", b'"stop"'))
    for each in chunks:
        orjson.dumps(each.body)  # halves cannot be written
    found = read(chunks).choices[0].message
    return getattr(found, field.decode())  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("texts", "text"),
    [
        ([b"Hot " + FIRST, SECOND + b" day"], "Hot 🔥 day"),
        ([b"Hot " + FIRST, b"", SECOND + b" day"], "Hot 🔥 day"),
        ([FIRST + SECOND], "🔥"),
        ([FIRST, SECOND + FIRST, SECOND], "🔥🔥"),
        ([b"a" + FIRST, b"b"], "a\ufffdb"),
        ([b"a" + SECOND, b"b"], "a\ufffdb"),
        ([b"a" + FIRST], "a\ufffd"),
        ([FIRST, FIRST, SECOND], "\ufffd🔥"),
    ],
)
@pytest.mark.parametrize("field", [b"content", b"reasoning_content", b"refusal"])
def test_halves_are_joined_and_lone_ones_replaced(texts: list[bytes], text: str, field: bytes) -> None:
    assert said(*texts, field=field) == text


def test_halves_are_joined_wherever_clients_read_thoughts() -> None:
    events = [event(b'{"reasoning":"%s"}' % half) for half in (b"Hot " + FIRST, SECOND)]

    sent = deltas(streamed(*events, chunk({"content": "hi"}, "stop")))

    assert [delta.get("reasoning") for delta in sent] == ["Hot ", "🔥", None]
    assert [delta.get("reasoning_content") for delta in sent] == ["Hot ", "🔥", None]


def test_halves_in_arguments_are_joined_by_call() -> None:
    pieces = [
        (0, rb'"id":"a",', rb'"name":"f",', rb"{\"x\": \"\ud83d"),
        (1, rb'"id":"b",', rb'"name":"g",', rb"{\"x\": \"\ud83d"),
        (0, b"", b"", rb"\udd25\"}"),
        (1, b"", b"", rb"\udca1\"}"),
    ]
    events = [event(b'{"tool_calls":[{"index":%d,%s"function":{%s"arguments":"%s"}}]}' % p) for p in pieces]

    assert calls_of(streamed(*events, chunk({}, "tool_calls"), ask=asked("f", "g"))) == [
        ("f", '{"x": "🔥"}'),
        ("g", '{"x": "💡"}'),
    ]


@given(st.text(min_size=1, max_size=8), st.sets(st.integers(1, 20)))
def test_a_text_may_be_split_between_any_code_units(text: str, cuts: set[int]) -> None:
    units = text.encode("utf-16-be")
    bounds = [0, *sorted(c for c in cuts if c < len(units) // 2), len(units) // 2]
    halves = [units[2 * a : 2 * b] for a, b in pairwise(bounds)]
    escaped = [
        b"".join(rb"\u%04x" % int.from_bytes(half[i : i + 2], "big") for i in range(0, len(half), 2))
        for half in halves
    ]

    assert said(*escaped) == text


@pytest.mark.parametrize(
    ("data", "values"),
    [
        (b'{"a": NaN, "b": [Infinity, -Infinity]}', [{"a": None, "b": [None, None]}]),
        (b'\xef\xbb\xbf{"a": NaN}', [{"a": None}]),
        (b'{"a": "x\ny\x01"}', [{"a": "x\ny\x01"}]),
        (b'{"a": "\xff"}', [{"a": "\ufffd"}]),
        (b'{"a": 1} trailing', [{"a": 1}]),
        (b'{"a": 1}\n{"a": 2}\n[DONE]', [{"a": 1}, {"a": 2}, "[DONE]"]),
        (b'{"a": 123456789012345678901234567890}', [{"a": 1.2345678901234568e29}]),
        (b"{not json", []),
        (b"<html>", []),
        (b"", []),
        (b"[" * 100_000, []),
        (b"[" * 300 + b"]" * 300, []),
    ],
)
def test_what_the_standard_forbids_is_read_where_it_is_clear(data: bytes, values: list[object]) -> None:
    assert lenient_values(data) == values


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity"])
def test_no_number_is_null_in_a_stream(number: bytes) -> None:
    logprobs = b'{"content": [{"token": "hi", "logprob": %s}]}' % number
    hi = b'{"id":"c-1","choices":[{"index":0,"delta":{"content":"hi"},"logprobs":%s}]}' % logprobs

    chunks = streamed(hi, chunk({}, "stop"))

    assert chunks[0].body["choices"][0]["logprobs"]["content"][0]["logprob"] is None


def test_several_chunks_in_one_event_are_all_read() -> None:
    both: list[Json] = [chunk({"content": "h"}), chunk({"content": "i"}, "stop")]

    lines = b"\n".join(map(orjson.dumps, both)) + b"\n[DONE]"

    assert read(streamed(lines, done=False)).choices[0].message.content == "hi"
    assert read(streamed(both)).choices[0].message.content == "hi"
