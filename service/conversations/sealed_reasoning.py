"""A model's reasoning in one string, which clients send back unread.

It is the `encrypted_content` of a reasoning item, and the signature of a thinking block or of Gemini's call.
It is sealed, not secret: a client could send the same reasoning in a Chat Completions request. The router
recognises its own by a mark; any other comes from a vendor that alone can read it.
"""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode

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
        self._texts: list[str] = []
        self._blocks: dict[str, list[_Block]] = {}

    @classmethod
    def whole(cls, text: str, message: Json) -> Reasoning:
        """The reasoning of a whole message, whose blocks are no fragments."""
        reasoning = cls()
        reasoning._texts = [text] if text else []
        reasoning._blocks = {name: [*map(_Block, blocks_of(message, name))] for name in _LISTS}
        return reasoning

    @property
    def text(self) -> str:
        return "".join(self._texts)

    @property
    def has_text(self) -> bool:
        return bool(self._texts)

    def add(self, text: str, delta: Json) -> None:
        """Add the text and the vendor's own blocks of a delta."""
        self._add_text(text)
        for name in _LISTS:
            for block in blocks_of(delta, name):
                _grow(self._blocks.setdefault(name, []), block)

    def append(self, text: str, fields: Json) -> None:
        """Add what was sealed apart; a block that was cut off in between is joined again."""
        self._add_text(text)
        for name in _LISTS:
            known, blocks = self._blocks.setdefault(name, []), blocks_of(fields, name)
            for block in blocks[:1]:
                _grow(known, block)
            known += map(_Block, blocks[1:])

    def _add_text(self, text: str) -> None:
        if text:
            self._texts.append(text)

    @property
    def fields(self) -> Json:
        """The fields of an assistant's message that hold the reasoning."""
        return ({"reasoning_content": self.text} if self.has_text else {}) | self._lists

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
        return {name: [block.whole() for block in blocks] for name, blocks in self._blocks.items() if blocks}


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


class _Block:
    """A vendor's block, as far as its fragments have arrived."""

    def __init__(self, fragment: Json) -> None:
        self._fields: Json = {}
        self._texts: dict[str, list[str]] = {}
        self.add(fragment)

    def continues_with(self, fragment: Json) -> bool:
        """Whether it does: a signature ends a block, encrypted ones come whole, Anthropic's have no index."""
        fields = self._fields
        is_same = all(fields.get(name) == fragment.get(name) for name in ("type", "index"))
        is_same &= fragment.get("id") in (None, fields.get("id"))
        return is_same and "data" not in fragment and not fields.get("signature")

    def add(self, fragment: Json) -> None:
        for name, value in fragment.items():
            if name in _TEXTS and isinstance(value, str):
                self._texts.setdefault(name, []).append(value)
            elif value is not None or name not in self._fields:
                self._fields[name] = value

    def whole(self) -> Json:
        return self._fields | {name: "".join(texts) for name, texts in self._texts.items()}


def _grow(blocks: list[_Block], fragment: Json) -> None:
    """Add a fragment to the last block if it continues it, else as a block of its own."""
    if blocks and blocks[-1].continues_with(fragment):
        blocks[-1].add(fragment)
    else:
        blocks.append(_Block(fragment))
