"""A model's reasoning in one string, which clients send back unread.

It is the `encrypted_content` of a reasoning item, and the signature of a thinking block or of Gemini's call.
It is sealed, not secret: a client could send the same reasoning in a Chat Completions request. The router
recognises its own by a mark; any other comes from a vendor that alone can read it.
"""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import orjson

from service.domain.basics import Json
from service.domain.bounded_json import ANSWER, bounded_json

MARK = "llm-router.1."
VENDOR_FIELD = "reasoning_vendor"  # of a message, until it is sent: whose reasoning it has
MAX_CHARS = 2**20  # of sealed reasoning; longer reasoning is not sealed
MAX_RATIO = 30  # of the bytes that a seal opens to; a request can have thousands of seals
_LISTS = ("thinking_blocks", "reasoning_details")
_TEXTS = ("thinking", "text", "summary", "data")  # of a block that arrives in fragments


class Reasoning:
    """The reasoning of one answer, in the fields of an assistant's message, as far as it has arrived."""

    def __init__(self) -> None:
        self.text = ""
        self._blocks: dict[str, list[Json]] = {}

    @classmethod
    def whole(cls, text: str, message: Json) -> Reasoning:
        """The reasoning of a whole message, whose blocks are no fragments."""
        reasoning = cls()
        reasoning.text = text
        reasoning._blocks = {name: blocks for name in _LISTS if (blocks := blocks_of(message, name))}
        return reasoning

    def add(self, text: str, delta: Json) -> None:
        """Add the text and the vendor's own blocks of a delta."""
        self.text += text
        for name in _LISTS:
            for block in blocks_of(delta, name):
                _grow(self._blocks.setdefault(name, []), block)

    def append(self, text: str, fields: Json) -> None:
        """Add what was sealed apart; a block that was cut off in between is joined again."""
        self.text += text
        for name in _LISTS:
            known, blocks = self._blocks.setdefault(name, []), blocks_of(fields, name)
            for block in blocks[:1]:
                _grow(known, block)
            known += blocks[1:]

    @property
    def fields(self) -> Json:
        """The fields of an assistant's message that hold the reasoning."""
        return ({"reasoning_content": self.text} if self.text else {}) | self._lists

    def sealed(self, vendor_mark: str | None = None) -> str | None:
        """The reasoning for `encrypted_content`; None: there is none, or too much.

        Args:
            vendor_mark: of the vendor that alone gets it back; None: the conversation decides.
        """
        marked = {} if vendor_mark is None or not self.fields else {VENDOR_FIELD: vendor_mark}
        return _sealed(self.fields | marked)

    def sealed_blocks(self) -> str | None:
        """The vendor's own blocks alone; None: there are none, or too many."""
        return _sealed(self._lists)

    @property
    def _lists(self) -> Json:
        return {name: blocks for name, blocks in self._blocks.items() if blocks}


def _sealed(fields: Json) -> str | None:
    if not fields:
        return None
    data = orjson.dumps(fields)
    compressed = zlib.compress(data)
    if len(data) > MAX_RATIO * len(compressed):
        compressed = zlib.compress(data, level=0)
    sealed = MARK + urlsafe_b64encode(compressed).decode()
    return sealed if len(sealed) <= MAX_CHARS else None


def as_signature(sealed: str) -> str:
    """Sealed reasoning in base64, as every signature."""
    return b64encode(sealed.encode()).decode()


def carried_thinking(signature: str | None) -> Json:
    """The fields of the message that a signature carries; empty if it is a vendor's own."""
    data = (signature or "").replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return opened(b64decode(data + "=" * (-len(data) % 4)).decode())
    except ValueError:
        return {}


def has_blocks(delta: Json) -> bool:
    """Whether a delta has blocks of reasoning that only their vendor can read."""
    return any(blocks_of(delta, name) for name in _LISTS)


def blocks_of(delta: Json, name: str) -> list[Json]:
    blocks = delta.get(name)
    return [block for block in blocks if isinstance(block, dict)] if isinstance(blocks, list) else []


def opened(sealed: object) -> Json:
    """The fields of an assistant's message that hold the reasoning; empty if the router did not seal it."""
    if not isinstance(sealed, str) or not sealed.startswith(MARK) or len(sealed) > MAX_CHARS:
        return {}
    try:
        compressed = urlsafe_b64decode(sealed.removeprefix(MARK).encode())
        reader = zlib.decompressobj()
        fields = bounded_json(reader.decompress(compressed, MAX_RATIO * len(compressed)), ANSWER)
    except (ValueError, zlib.error):
        return {}
    return _known(fields) if isinstance(fields, dict) else {}


def _known(fields: Json) -> Json:
    known: Json = {name: blocks for name in _LISTS if (blocks := blocks_of(fields, name))}
    if isinstance(text := fields.get("reasoning_content"), str) and text:
        known["reasoning_content"] = text
    if known and isinstance(mark := fields.get(VENDOR_FIELD), str):
        known[VENDOR_FIELD] = mark
    return known


def _grow(blocks: list[Json], fragment: Json) -> None:
    """Add a fragment to the last block if it continues it, else as a block of its own."""
    if blocks and _continues(blocks[-1], fragment):
        blocks[-1] = _joined(blocks[-1], fragment)
    else:
        blocks.append(dict(fragment))


def _continues(block: Json, fragment: Json) -> bool:
    """A signature ends a block, and encrypted ones come whole; Anthropic's have no index, but an order."""
    is_same = all(block.get(name) == fragment.get(name) for name in ("type", "index"))
    is_same &= fragment.get("id") in (None, block.get("id"))
    return is_same and "data" not in fragment and not block.get("signature")


def _joined(block: Json, fragment: Json) -> Json:
    joined: Json = {**block, **{name: value for name, value in fragment.items() if value is not None}}
    for name in _TEXTS:
        if isinstance(block.get(name), str) or isinstance(fragment.get(name), str):
            joined[name] = _string(block.get(name)) + _string(fragment.get(name))
    return joined


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""
