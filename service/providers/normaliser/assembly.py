"""Puts the chunks of a normalised stream together again: a whole answer for a client that asked for one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from service.domain.answer import Answer, Chunk, Usage
from service.domain.basics import Json

# Fields whose pieces follow each other; of any other field the last value stands.
_TEXTS = frozenset({"content", "refusal", "reasoning_content", "reasoning", "arguments", "input", "name"})
_TEXTS |= {"data", "transcript"}  # of audio


def assembled(chunks: Iterable[Chunk]) -> Answer:
    """The whole answer of a stream that has ended well."""
    body: Json = {}
    choices: dict[int, Json] = {}
    usage = Usage()
    notes: tuple[str, ...] = ()
    for chunk in chunks:
        body |= {name: value for name, value in chunk.body.items() if name != "choices"}
        usage, notes = chunk.usage or usage, chunk.notes or notes
        for choice in chunk.body["choices"]:
            known = choices.setdefault(choice["index"], {"message": {"role": "assistant", "content": None}})
            _add(known["message"], choice["delta"])
            known |= {name: value for name, value in choice.items() if name not in ("delta", "logprobs")}
            if choice.get("logprobs"):
                _add(known.setdefault("logprobs", {}), choice["logprobs"])
    for choice in choices.values():
        for call in choice["message"].get("tool_calls", []):
            del call["index"]
    whole = [_joined(choices[index]) for index in sorted(choices)]
    body |= {"object": "chat.completion", "choices": whole}
    return Answer(body, usage, notes=notes)


class _Pieces(list[str]):
    """The pieces of a text, which are joined once, at the end."""


def _add(whole: Json, piece: Json) -> None:
    """Add a piece of an object to it."""
    for name, value in piece.items():
        known = whole.get(name)
        if isinstance(known, _Pieces) and isinstance(value, str):
            known.append(value)
        elif isinstance(known, dict) and isinstance(value, dict):
            _add(known, value)
        elif isinstance(known, list) and isinstance(value, list):
            _extend(known, value)
        elif known is None or value is not None:
            whole[name] = _begun(name, value)


def _begun(name: str, value: Any) -> Any:
    """The first piece of a field, in a container to which others can be added."""
    if isinstance(value, str) and name in _TEXTS:
        return _Pieces([value])
    if isinstance(value, dict):
        begun: Json = {}
        _add(begun, value)
        return begun
    if isinstance(value, list):
        items: list[Any] = []
        _extend(items, value)
        return items
    return value


def _extend(known: list[Any], pieces: list[Any]) -> None:
    """Add pieces to a list; those with an index belong to the item at that position."""
    for piece in pieces:
        index = piece.get("index") if isinstance(piece, dict) else None
        if isinstance(index, int) and 0 <= index < len(known) and isinstance(known[index], dict):
            _add(known[index], piece)
        else:
            known.append(_begun("", piece))


def _joined(value: Any) -> Any:
    """The value with its texts in one piece each."""
    if isinstance(value, _Pieces):
        return "".join(value)
    if isinstance(value, dict):
        return {name: _joined(item) for name, item in value.items()}
    return [_joined(item) for item in value] if isinstance(value, list) else value
