"""Reasoning goes to its client sealed, and comes back for its vendor."""

from __future__ import annotations

import zlib
from base64 import urlsafe_b64encode

import pytest

from service.conversations import sealed_reasoning
from service.conversations.sealed_reasoning import MARK, Reasoning, opened
from service.domain.basics import Json


def sealed(*deltas: Json) -> str | None:
    reasoning = Reasoning()
    for delta in deltas:
        reasoning.add(delta.get("reasoning_content") or "", delta)
    return reasoning.sealed()


def test_text_comes_back() -> None:
    assert opened(sealed({"reasoning_content": "Let me "}, {"reasoning_content": "think."})) == {
        "reasoning_content": "Let me think."
    }


def test_signed_blocks_come_back_whole() -> None:
    blocks = [
        {"type": "thinking", "thinking": "Hm", "signature": ""},
        {"type": "thinking", "thinking": "m.", "signature": ""},
        {"type": "thinking", "thinking": "", "signature": "sig-1"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "redacted_thinking", "data": "y"},
        {"type": "thinking", "thinking": "More.", "signature": "sig-2"},
    ]

    assert opened(sealed(*({"thinking_blocks": [block]} for block in blocks)))["thinking_blocks"] == [
        {"type": "thinking", "thinking": "Hmm.", "signature": "sig-1"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "redacted_thinking", "data": "y"},
        {"type": "thinking", "thinking": "More.", "signature": "sig-2"},
    ]


def test_details_come_back_by_their_index() -> None:
    details = [
        {"type": "reasoning.text", "index": 0, "text": "One", "signature": None},
        {"type": "reasoning.text", "index": 0, "text": ".", "signature": "s"},
        {"type": "reasoning.encrypted", "index": 1, "data": "abc"},
    ]

    assert opened(sealed(*({"reasoning_details": [detail]} for detail in details)))["reasoning_details"] == [
        {"type": "reasoning.text", "index": 0, "text": "One.", "signature": "s"},
        {"type": "reasoning.encrypted", "index": 1, "data": "abc"},
    ]


def test_no_reasoning_is_not_sealed() -> None:
    assert sealed({}) is None


def test_too_much_reasoning_is_not_sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed_reasoning, "MAX_CHARS", 100)

    assert sealed({"reasoning_content": "".join(map(chr, range(1000)))}) is None


@pytest.mark.parametrize(
    "foreign",
    [
        None,
        5,
        "",
        "gAAAAABo",
        MARK,
        MARK + "!",
        MARK + "AAAA",
        MARK + urlsafe_b64encode(zlib.compress(b"[1]")).decode(),
        MARK + urlsafe_b64encode(zlib.compress(b'{"role": "system"}')).decode(),
        MARK
        + urlsafe_b64encode(zlib.compress(b'{"thinking_blocks": ["x"], "reasoning_content": 1}')).decode(),
        MARK + urlsafe_b64encode(zlib.compress(b'{"reasoning_content": "cut')).decode(),
    ],
)
def test_anything_else_opens_to_nothing(foreign: object) -> None:
    assert opened(foreign) == {}


def test_a_small_seal_of_much_data_is_not_opened() -> None:
    bomb = (
        MARK + urlsafe_b64encode(zlib.compress(b'{"reasoning_content": "' + b"x" * 100_000 + b'"}')).decode()
    )

    assert opened(bomb) == {}


def test_reasoning_that_repeats_itself_comes_back() -> None:
    assert opened(sealed({"reasoning_content": "x" * 100_000})) == {"reasoning_content": "x" * 100_000}


def test_the_mark_of_a_vendor_comes_back() -> None:
    reasoning = Reasoning()
    reasoning.add("Hm.", {})

    assert opened(reasoning.sealed("abc")) == {"reasoning_content": "Hm.", "reasoning_vendor": "abc"}
    assert Reasoning().sealed("abc") is None
