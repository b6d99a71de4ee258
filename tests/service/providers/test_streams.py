from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import ProviderBroken
from service.providers.streams import MAX_EVENT_BYTES, EventReader


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


def test_an_event_is_returned_as_soon_as_its_empty_line_arrives() -> None:
    reader = EventReader()

    assert reader.feed(b"data: a\n") == []
    assert reader.feed(b"\ndata: b") == [b"a"]


def test_a_byte_order_mark_is_no_part_of_the_first_event() -> None:
    reader = EventReader()

    first = [data for byte in b"\xef\xbb\xbfdata: a\n\n" for data in reader.feed(bytes([byte]))]

    assert first == [b"a"]
    assert read(b"data: b\n\n\xef\xbb\xbfdata: c\n\n") == [b"b"]  # only at the beginning


def test_an_endless_event_is_cut_off() -> None:
    reader = EventReader()

    with pytest.raises(ProviderBroken, match="more than"):
        reader.feed(b"data: " + b"x" * MAX_EVENT_BYTES)
