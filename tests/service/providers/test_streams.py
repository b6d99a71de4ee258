from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import ProviderBroken
from service.providers.streams import MAX_EVENT_BYTES, EventReader
from tests.growth import assert_linear


def read(*blocks: bytes) -> list[bytes]:
    reader = EventReader()
    return [data for block in (*blocks, b"") for data in reader.feed(block)]


STREAM = (
    "data: größe €\n\n: comment\r\ndata: a\r\ndata:b\r\n\r\nevent: x\nid: 7\n\ndata: 🙂\r\rdata: last"
).encode()
EVENTS = ["größe €".encode(), b"a\nb", "🙂".encode(), b"last"]


@given(st.sets(st.integers(1, len(STREAM) - 1)))
def test_events_are_the_same_for_any_split_of_the_bytes(cuts: set[int]) -> None:
    bounds = [0, *sorted(cuts), len(STREAM)]

    events = read(*(STREAM[start:end] for start, end in pairwise(bounds)))

    assert events == EVENTS


PIECES = {b"data: a\n\n": b"a", b"data: \n\n": None, b": ping\n\n": None, b"data: b\ndata: c\n\n": b"b\nc"}
PIECES |= {b"data: d\r\n\r\n": b"d", b"event: x\ndata: e\n\n": b"e", b"\n": None}


@given(st.lists(st.lists(st.sampled_from(list(PIECES)))))
def test_events_of_any_form_come_together(blocks: list[list[bytes]]) -> None:
    events = read(*(b"".join(block) for block in blocks if block))

    assert events == [PIECES[piece] for block in blocks for piece in block if PIECES[piece] is not None]


def test_an_event_is_returned_as_soon_as_its_empty_line_arrives() -> None:
    reader = EventReader()

    assert reader.feed(b"data: a\n") == []
    assert reader.feed(b"\ndata: b") == [b"a"]


def test_a_byte_order_mark_is_no_part_of_the_first_event() -> None:
    reader = EventReader()

    first = [data for byte in b"\xef\xbb\xbfdata: a\n\n" for data in reader.feed(bytes([byte]))]

    assert first == [b"a"]
    assert read(b"data: b\n\n\xef\xbb\xbfdata: c\n\n") == [b"b"]  # only at the beginning


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_an_event_ends_with_any_line_end_however_it_is_split(end: bytes) -> None:
    stream = b"data: a" + end + end + b"data: b" + end + b"data:" + end + end

    for size in (1, 2, 3, len(stream)):
        assert read(*(stream[i : i + size] for i in range(0, len(stream), size))) == [b"a", b"b\n"]


@pytest.mark.parametrize("line", [b"x", b"data: x\n", b"data:\n"], ids=["one line", "lines", "empty lines"])
def test_an_endless_event_is_cut_off(line: bytes) -> None:
    reader = EventReader()
    n_fed = 0

    def feed_forever() -> None:
        nonlocal n_fed
        while n_fed < 1_000:
            n_fed += 1
            reader.feed(line * 100_000)

    reader.feed(b"data: ")
    with pytest.raises(ProviderBroken, match="more than"):
        feed_forever()
    assert 100_000 * (n_fed - 1) <= MAX_EVENT_BYTES


@pytest.mark.parametrize("piece", [b"x" * 64, b"data: x\n", b"\r", b"x\r", b"\r\n", b": x\n"])
def test_small_blocks_of_a_large_event_are_read_in_linear_time(piece: bytes) -> None:
    def work_of(n_blocks: int) -> Callable[[], object]:
        return lambda: read(b"data: " + b"y" * 64 * n_blocks, *([piece] * n_blocks))

    assert_linear(work_of, 1_000)
