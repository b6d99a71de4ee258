"""Tool calls, whole and in pieces: contiguous indices, one id and one name each, arguments as a string."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import orjson

from service.domain.basics import Json
from service.errors import ProviderBroken
from service.providers.normaliser.nesting import Nesting


def whole_calls(value: object) -> list[Json]:
    """The tool calls of a whole message.

    Raises:
        ProviderBroken: a call has arguments, but no name.
    """
    calls = []
    ids: set[str] = set()
    for piece in map(_Piece.read, _objects(value)):
        if piece.is_nothing:
            continue
        call_id = piece.id if piece.id and piece.id not in ids else new_id()
        ids.add(call_id)
        payload = {"name": _required(piece.name), piece.text_name: piece.text or piece.empty}
        call = {**piece.rest, "id": call_id, "type": piece.type}
        calls.append(call | {piece.type: {**piece.more, **payload}})
    return calls


class ToolCalls:
    """The tool calls of one choice of a stream.

    Args:
        names: the tools of the request. A name that only begins like one of them waits for the rest.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._calls: list[_Call] = []
        self._at_index: dict[int, _Call] = {}  # the call that a provider's index means now
        self._ids: set[str] = set()  # of the calls that the client has got

    def __bool__(self) -> bool:
        return bool(self._ids)

    def pieces(self, value: object) -> list[Json]:
        """The pieces for the client of the pieces in a delta."""
        written = []
        for position, raw in enumerate(_objects(value)):
            if self._continues(raw):
                written.append(raw)
                continue
            piece = _Piece.read(raw)
            call = self._call_of(piece, position)
            if call is not None:
                written += self._add(call, piece)
        return written

    def end(self, *, is_whole: bool) -> list[Json]:
        """The pieces that complete the calls when their choice ends.

        Args:
            is_whole: the answer was not cut off, so that a call without arguments has none.

        Raises:
            ProviderBroken: a call has arguments, but no name.
        """
        written = []
        for call in self._calls:
            if not call.is_sent and (call.name or call.text):
                _required(call.name)
                written.append(self._begun(call))
            if is_whole and call.is_sent and not call.n_chars and not call.is_custom:
                call.n_chars = 2
                written.append(call.written("{}"))
        return written

    def _continues(self, raw: Json) -> bool:
        """Whether a piece is nothing but more arguments of a call whose index is its own."""
        function = raw.get("function")
        call = self._at_index.get(raw["index"]) if type(raw.get("index")) is int else None
        if call is None or call.index != raw["index"] or not isinstance(function, dict):
            return False
        if raw.keys() != {"index", "function"} or function.keys() != {"arguments"}:
            return False
        text = function["arguments"]
        if not isinstance(text, str) or not call.is_sent or call.is_complete or text[:1] in ("{", ""):
            return False
        call.add(text)
        return True

    def _call_of(self, piece: _Piece, position: int) -> _Call | None:
        """The call that a piece belongs to: by its index, unless its id or its name says otherwise."""
        index = position if piece.index is None else piece.index
        call = self._at_index.get(index)
        if piece.id and (call is None or call.given_id not in (None, piece.id)):
            known = next((c for c in reversed(self._calls) if c.given_id == piece.id), None)
            is_new = call is None and piece.index is not None
            if known is not None and not (is_new and piece.name):
                call = known
            elif piece.name and not (call is not None and call.is_continued_by(piece)):
                call = None
        if call is not None and (call.is_followed_by(piece) or self._is_another(call, piece)):
            call = None
        if call is None:
            if piece.is_nothing:
                return None
            call = _Call(is_custom=piece.type == "custom")
            self._calls.append(call)
        self._at_index[index] = call
        return call

    def _is_another(self, call: _Call, piece: _Piece) -> bool:
        """Whether a piece without an id names another tool of the request than the call does."""
        names = {call.name, piece.name}
        return piece.id is None and len(names) == 2 and names <= self._names

    def _add(self, call: _Call, piece: _Piece) -> list[Json]:
        """The pieces for the client after a call has got one more piece; none while its name is not known."""
        call.given_id = call.given_id or piece.id
        call.repeats_name |= piece.name is not None and piece.name == call.name
        name = piece.name if piece.name != call.name and not (call.name and call.n_chars) else None
        rest = {key: value for key, value in piece.rest.items() if call.rest.get(key) != value}
        call.name += name or ""
        call.rest |= rest
        call.more |= piece.more
        text = call.add(piece.text)
        if call.is_sent:
            return [call.written(text, name, rest)] if text or name or rest else []
        call.waiting.append(text)
        return [self._begun(call)] if call.name and (call.n_chars or self._is_known(call.name)) else []

    def _is_known(self, name: str) -> bool:
        """Whether a name is whole: it is a tool's, or no tool's name begins with it."""
        return name in self._names or not any(known.startswith(name) for known in self._names)

    def _begun(self, call: _Call) -> Json:
        """The first piece of a call for the client."""
        call_id = call.given_id if call.given_id and call.given_id not in self._ids else new_id()
        call.index = len(self._ids)
        self._ids.add(call_id)
        head = {**call.rest, "index": call.index, "id": call_id, "type": call.type}
        return head | {call.type: {**call.more, "name": call.name, call.text_name: call.text}}


@dataclass(slots=True)
class _Call:
    """A call of a stream, as far as it has arrived."""

    is_custom: bool
    given_id: str | None = None  # by the provider
    index: int = -1  # for the client; negative: nothing was sent yet
    name: str = ""
    n_chars: int = 0  # of the arguments so far
    nesting: Nesting = field(default_factory=Nesting)  # of the arguments
    repeats_arguments: bool = False  # each piece has all that came before
    repeats_name: bool = False  # the provider sends the name with further pieces
    arguments: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)  # arguments before the first piece for the client
    rest: Json = field(default_factory=dict)  # further fields of the call
    more: Json = field(default_factory=dict)  # further fields of its function

    @property
    def is_sent(self) -> bool:
        return self.index >= 0

    @property
    def type(self) -> str:
        return "custom" if self.is_custom else "function"

    @property
    def text_name(self) -> str:
        return "input" if self.is_custom else "arguments"

    @property
    def text(self) -> str:
        return "".join(self.waiting)

    @property
    def is_complete(self) -> bool:
        """Whether the arguments are a whole object."""
        return self.n_chars > 0 and self.nesting.is_closed

    def add(self, text: str) -> str:
        """Add arguments; returns those that are new. After a whole object only a repetition can come."""
        if self.is_complete or not text or (text == "{}" and not self.arguments):
            return ""  # `{}` may be a place holder for pieces to come; `end` adds it if none has
        text = self._new_in(text)
        self.arguments.append(text)
        self.n_chars += len(text)
        self.nesting.add(text)
        return text

    def _new_in(self, text: str) -> str:
        """What is new in arguments that may begin with all that came before, where no object can begin."""
        if text[0] != "{" or len(text) < self.n_chars or self.n_chars < 2:
            return text
        before = "".join(self.arguments)
        can_begin = before.rstrip().endswith((":", "[", ",")) and not self.nesting.is_string
        if can_begin and not self.repeats_arguments:
            return text
        self.repeats_arguments = text.startswith(before)
        return text.removeprefix(before)

    def is_continued_by(self, piece: _Piece) -> bool:
        """Whether a piece under the call's index goes on with its arguments, though it has another id."""
        is_open = self.n_chars > 0 and not self.is_complete
        return is_open and piece.name == self.name and piece.text[:1] not in ("{", "")

    def is_followed_by(self, piece: _Piece) -> bool:
        """Whether a piece under the call's index begins another call, as its name or its arguments tell.

        A provider may repeat the name in every piece, or the whole call at its end.
        """
        has_same_id = piece.id is not None and piece.id == self.given_id
        if not piece.name:
            return False
        if piece.name != self.name and self.name and self.n_chars and not has_same_id:
            return True
        if not self.is_complete:
            return False
        if not piece.text:
            return not (self.repeats_name or has_same_id)
        other = _value(piece.text)
        if other is None and has_same_id:
            return False
        return piece.text[0] == "{" and other != _value("".join(self.arguments))

    def written(self, text: str, name: str | None = None, rest: Json | None = None) -> Json:
        """A further piece for the client."""
        named = {} if name is None else {"name": name}
        return {**(rest or {}), "index": self.index, self.type: {**named, self.text_name: text}}


@dataclass(frozen=True, slots=True)
class _Piece:
    """A tool call, or a piece of one, as a provider wrote it."""

    index: int | None
    id: str | None
    name: str | None
    text: str
    type: str
    rest: Json
    more: Json

    @property
    def text_name(self) -> str:
        return "input" if self.type == "custom" else "arguments"

    @property
    def empty(self) -> str:
        return "" if self.type == "custom" else "{}"

    @property
    def is_nothing(self) -> bool:
        return not (self.id or self.name or self.text.strip())

    @classmethod
    def read(cls, raw: Json) -> _Piece:
        kind = "custom" if isinstance(raw.get("custom"), dict) else "function"
        inner = raw.get(kind)
        function = inner if isinstance(inner, dict) else raw  # some leave the `function` object out
        text_name = "input" if kind == "custom" else "arguments"
        name = function.get("name")
        taken = {"index", "id", "type", kind, *({"name", text_name} if function is raw else ())}
        return cls(
            index=whole_number(raw.get("index")),
            id=_id(raw.get("id")),
            name=name if isinstance(name, str) and name else None,
            text=arguments(function.get(text_name)),
            type=kind,
            rest={key: value for key, value in raw.items() if key not in taken and value is not None},
            more={}
            if function is raw
            else {key: value for key, value in function.items() if key not in ("name", text_name)},
        )


def function_call(value: object) -> Json | None:
    """The older `function_call` of a message, or a piece of one; None if it is none."""
    if not isinstance(value, dict) or not value:
        return None
    return {**value, "arguments": arguments(value.get("arguments"))}


def arguments(value: object) -> str:
    """Arguments as a JSON string; objects are written as JSON, and null or an empty list is nothing."""
    if isinstance(value, str):
        return value
    return "" if value is None or value == [] else orjson.dumps(value).decode()


def whole_number(value: object) -> int | None:
    """A provider's index, which some write as a float or as text."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if type(value) is int else None


def new_id() -> str:
    """An id for a call that has none, or whose id another call has."""
    return f"call_{uuid4().hex[:24]}"


def _id(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return str(value) or None


def _objects(value: object) -> Iterator[Json]:
    """The objects of a list, or the one object in place of it."""
    return (item for item in (value if isinstance(value, list) else [value]) if isinstance(item, dict))


def _value(text: str) -> Any:
    """The JSON object; None if the text is none."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _required(name: str | None) -> str:
    if not name:
        raise ProviderBroken("the model called a tool without its name")
    return name
