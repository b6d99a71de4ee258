"""Stop sequences that a server does not accept: the router ends the answer at them itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from service.domain.answer import Chunk
from service.domain.basics import Json
from service.domain.usage import estimated_usage, reported, text_bytes

ALLOWED = 4
_MOST = 64
_LONGEST = 256  # characters; a request beyond these bounds is not changed


def with_four_stops(body: Json) -> Json:
    """The body with its first four stop sequences; the same object if there are no more."""
    return _with(body, _stops(body)[:ALLOWED])


def without_stops(body: Json) -> Json:
    return _with(body, [])


def without_blank_stops(body: Json) -> Json:
    """The body with only those stop sequences that are more than white space."""
    return _with(body, [stop for stop in _stops(body) if not isinstance(stop, str) or not stop.isspace()])


def _with(body: Json, kept: list[Any]) -> Json:
    """The body with these stop sequences, if the router can end the answer at the others."""
    stops = _stops(body)
    if len(kept) == len(stops) or len(stops) > _MOST:
        return body
    if not all(isinstance(stop, str) and 0 < len(stop) <= _LONGEST for stop in stops):
        return body
    rest = {name: value for name, value in body.items() if name != "stop"}
    return {**rest, "stop": kept} if kept else rest


def left_out(asked: Json, sent: Json) -> tuple[str, ...]:
    """The stop sequences that the server did not get."""
    if sent is asked:
        return ()
    kept = _stops(sent)
    return tuple(stop for stop in _stops(asked) if stop not in kept)


def _stops(body: Json) -> list[Any]:
    stops = body.get("stop")
    return stops if isinstance(stops, list) else [] if stops is None else [stops]


def cut_off(answer: Json, stops: Sequence[str]) -> Json:
    """The whole answer, ended at the first of these sequences."""
    return {**answer, "choices": [_cut_choice(choice, stops) for choice in answer["choices"]]}


def _cut_choice(choice: Json, stops: Sequence[str]) -> Json:
    message = choice["message"]
    found = _first(message.get("content") or "", stops)
    if found is None:
        return choice
    end, stop = found
    said = {
        name: value for name, value in message.items() if name != "tool_calls"
    }  # they come after the text
    return {**choice, "message": {**said, "content": message["content"][:end]}, **_ended_by(stop)}


def _first(text: str, stops: Sequence[str]) -> tuple[int, str] | None:
    """Where the sequence begins that is complete first, and which it is."""
    found = [(place + len(stop), stop) for stop in stops if (place := text.find(stop)) >= 0]
    if not found:
        return None
    end, stop = min(found)
    return end - len(stop), stop


def _ended_by(stop: str) -> Json:
    return {"finish_reason": "stop", "stop_reason": stop}  # as vLLM names the sequence


class StopCutter:
    """Ends the choices of one stream at stop sequences.

    Args:
        body: the request.
        stops: the sequences that the server does not know.
    """

    def __init__(self, body: Json, stops: Sequence[str]) -> None:
        self._body = body
        self._stops = stops
        self._held: dict[int, str] = {}  # by choice: text that may begin a sequence
        self._ended: set[int] = set()
        self._n_bytes = 0
        self.is_done = False  # every choice has ended, so that the rest of the stream is not needed

    def chunks(self, chunk: Chunk) -> Iterator[Chunk]:
        """The chunk as far as it comes before a sequence, and the closing chunk after the last choice."""
        choices = [cut for choice in chunk.body.get("choices") or [] if (cut := self._choice(choice))]
        if choices or not chunk.body.get("choices"):
            yield Chunk({**chunk.body, "choices": choices}, chunk.usage)
        if len(self._ended) >= (self._body.get("n") or 1) and chunk.usage is None:
            self.is_done = True
            usage = estimated_usage(self._body, self._n_bytes)
            yield Chunk({**chunk.body, "choices": [], "usage": reported(usage)}, usage)

    def _choice(self, choice: Json) -> Json | None:
        """The choice without what must wait or comes too late; None: nothing is left of it."""
        index, delta = choice.get("index", 0), choice.get("delta") or {}
        if index in self._ended:
            return None
        self._n_bytes += text_bytes(delta)
        text = self._held.pop(index, "") + (delta.get("content") or "")
        if (found := _first(text, self._stops)) is not None:
            self._ended.add(index)
            said = {name: value for name, value in delta.items() if name != "tool_calls"}
            return {**choice, "delta": {**said, "content": text[: found[0]]}, **_ended_by(found[1])}
        if choice.get("finish_reason") is None and (n_held := self._n_open(text)):
            self._held[index] = text[-n_held:]
            text = text[:-n_held]
        if text == (delta.get("content") or ""):
            return choice
        rest = {name: value for name, value in delta.items() if name != "content"}
        return {**choice, "delta": {**rest, "content": text}} if text or rest else None

    def _n_open(self, text: str) -> int:
        """How many characters at the end of the text may begin a sequence."""
        return max(_n_begun(text, stop) for stop in self._stops)


def _n_begun(text: str, stop: str) -> int:
    """How many characters at the end of the text are the begin of the sequence."""
    longest = min(len(stop) - 1, len(text))
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
