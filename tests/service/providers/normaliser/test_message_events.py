"""One event after the other of a message in Anthropic's form."""

from __future__ import annotations

import pytest

from service.domain.basics import Json
from service.errors import ProviderBroken
from service.providers.normaliser.message_events import EventNormaliser

START: Json = {"type": "message_start", "message": {"id": "m", "role": "assistant", "content": []}}
BEGIN: Json = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
STOP: Json = {"type": "message_stop"}


def text(index: int | None, words: str) -> Json:
    delta = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": words}}
    return delta if index is None else {**delta, "index": index}


def after(*raw: Json) -> EventNormaliser:
    normaliser = EventNormaliser()
    for event in raw:
        list(normaliser.events(event))
    return normaliser


def test_sound_events_stay_the_same_objects() -> None:
    normaliser = after(START)
    raw = [BEGIN, text(0, "Hi"), {"type": "content_block_stop", "index": 0}, {"type": "ping"}]

    assert [found for event in raw for found in normaliser.events(event)] == raw


def test_only_a_sound_piece_of_a_block_that_has_begun_continues() -> None:
    assert after(START, BEGIN).continues(text(0, "Hi"))
    assert not after(START).continues(text(0, "Hi"))
    assert not after(START, BEGIN).continues(text(1, "Hi"))
    assert not after(START, BEGIN).continues(text(None, "Hi"))
    assert not after(START, BEGIN, STOP).continues(text(0, "Hi"))
    assert not after(START, BEGIN).continues({"type": "content_block_delta", "index": 0})


def test_a_message_starts_once_and_nothing_follows_its_end() -> None:
    assert list(after(START).events(START)) == []
    assert [event["type"] for event in EventNormaliser().events(START)] == ["message_start"]
    assert list(after(START, STOP).events({"type": "ping"})) == []


def test_text_without_a_beginning_gets_a_block_which_ends_with_the_message() -> None:
    normaliser = after(START)

    begun = list(normaliser.events(text(None, "Hi")))
    ended = list(normaliser.events(STOP))

    assert begun == [BEGIN | {"content_block": {"type": "text", "text": ""}}, text(0, "Hi")]
    assert ended == [
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_sequence": None, "stop_reason": "end_turn"},
            "usage": None,
        },
        STOP,
    ]
    assert normaliser.notes == ["the stream ended without a stop reason"]


def test_a_piece_of_a_tool_call_without_a_beginning_breaks_the_answer() -> None:
    piece = {"type": "input_json_delta", "partial_json": "{}"}

    with pytest.raises(ProviderBroken, match="continued a part of its answer that it had not begun"):
        list(after(START).events({"type": "content_block_delta", "index": 0, "delta": piece}))
