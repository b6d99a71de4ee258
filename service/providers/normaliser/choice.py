"""One choice of a stream: its deltas in one form, and its end."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from service.domain.basics import Json
from service.domain.usage import length, text_bytes
from service.errors import ProviderBroken
from service.providers.normaliser.characters import HalfCharacters
from service.providers.normaliser.content import CALLS, is_sound, said, tidied
from service.providers.normaliser.finish import finish_reason, with_calls
from service.providers.normaliser.tool_calls import ToolCalls, function_call

_PLAIN = {"index", "delta", "logprobs", "finish_reason"}  # the fields of a choice that need no correction


class ChoiceNormaliser:
    """Gives the deltas of one choice the same form.

    Args:
        tools: the names of the request's tools.
    """

    def __init__(self, tools: Collection[str]) -> None:
        self.finish_reason: str | None = None  # as the client has got it
        self.notes: list[str] = []  # what was not as it should be
        self.n_bytes = 0  # of the answer, to estimate its tokens
        self._said: set[str] = set()  # the fields of a message that have come
        self._calls = ToolCalls(tools)
        self._has_function_call = False
        self._halves = HalfCharacters()

    @property
    def has_content(self) -> bool:
        return bool(self._said)

    def choice(self, index: int, raw: Json, *, has_halves: bool) -> Json:
        """The provider's choice for the client: the same object if it is sound.

        Args:
            has_halves: its texts may have halves of characters.

        Raises:
            ProviderBroken: the choice broke off, or calls a tool without its name.
        """
        delta, reason = raw.get("delta"), raw.get("finish_reason")
        if not isinstance(delta, dict) or not is_sound(delta) or has_halves or self._halves.waiting:
            delta = self._delta(raw, has_halves=has_halves)
        if delta:
            self.n_bytes += text_bytes(said(delta))
            for name, value in delta.items():
                if value and name not in self._said and name != "role":
                    self._said.add(name)
        if reason is not None:
            reason, delta = self._finished(reason, delta)
        if delta is raw.get("delta") and reason == raw.get("finish_reason") and raw.get("index") == index:
            return raw
        rest = {name: value for name, value in raw.items() if name not in ("message", "text")}
        return {**rest, "index": index, "delta": delta, "finish_reason": reason}

    def plain_text(self, raw: Json) -> str | None:
        """The text if the choice is a piece of it and nothing else, in the right form; counts it."""
        delta = raw.get("delta")
        if type(delta) is not dict or len(delta) != 1 or type(content := delta.get("content")) is not str:
            return None
        if raw.get("finish_reason") is not None or raw.get("logprobs") is not None:
            return None
        if not raw.keys() <= _PLAIN or "content" not in self._said or self._halves.waiting:
            return None
        self.n_bytes += length(content)
        return content

    def end(self, index: int) -> Json | None:
        """What the client lacks at the end of the stream, as a choice; None if it lacks nothing."""
        sent = self.finish_reason
        if sent is None:
            self.notes.append("the stream ended without a finish reason")
        reason, delta = self._finished(sent or "stop", {})
        return {"index": index, "delta": delta, "finish_reason": reason} if delta or reason != sent else None

    def _delta(self, raw: Json, *, has_halves: bool) -> Json:
        """The delta in OpenAI's form; empty if the choice has none."""
        delta = raw.get("delta") or raw.get("message") or raw.get("text")
        delta = tidied(delta if isinstance(delta, dict) else {} if delta is None else {"content": delta})
        if any(delta.get(name) is not None for name in CALLS):
            delta = self._with_calls(delta)
        return self._halves.joined(delta) if has_halves or self._halves.waiting else delta

    def _with_calls(self, raw: Json) -> Json:
        delta = {name: value for name, value in raw.items() if name not in CALLS}
        if pieces := self._calls.pieces(raw.get("tool_calls")):
            delta["tool_calls"] = pieces
        if call := function_call(raw.get("function_call")):
            self._has_function_call = True
            delta["function_call"] = call
        return delta

    def unsaid(self, message: Json) -> Json:
        """A whole message at the end of the stream, without what the stream has said already."""
        return {name: value for name, value in tidied(message).items() if name not in self._said}

    def _finished(self, value: object, delta: Json) -> tuple[str | None, Json]:
        """The finish reason, and the delta with all that must come before it."""
        reason = finish_reason(value)
        if reason is None:
            return None, delta
        if reason == "error":
            message = f"the model broke its answer off, finish_reason {value!r}"
            raise ProviderBroken(message, has_begun=True)
        if reason == "unknown":
            self.notes.append(f"finish_reason {value!r} is unknown, and read as stop")
        last = self._calls.end(is_whole=reason not in ("length", "content_filter"))
        called = {"tool_calls": self._calls, "function_call": self._has_function_call}
        self.finish_reason = with_calls(reason, called)
        return self.finish_reason, _with_halves(_with_pieces(delta, last), self._halves.end())


def _with_pieces(delta: Json, pieces: list[Any]) -> Json:
    return {**delta, "tool_calls": [*delta.get("tool_calls", []), *pieces]} if pieces else delta


def _with_halves(delta: Json, halves: Json) -> Json:
    """The delta, followed by replacements of half characters."""
    if not halves:
        return delta
    texts = {name: (delta.get(name) or "") + text for name, text in halves.items() if name != "tool_calls"}
    return _with_pieces({**delta, **texts}, halves.get("tool_calls", []))
