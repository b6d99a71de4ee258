"""Half characters: a surrogate pair that a provider splits over two events, and halves without the other."""

from __future__ import annotations

from typing import Any

from service.domain.basics import Json
from service.providers.normaliser.content import TEXTS

_JOINED = TEXTS | {"reasoning"}
REPLACEMENT = "\ufffd"
# The text in each type of delta of Anthropic's blocks.
EVENT_TEXTS = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}


def without_halves(value: Any) -> Any:
    """The JSON value with pairs joined and every lone half replaced; orjson writes no half."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [without_halves(item) for item in value]
    if isinstance(value, dict):
        return {without_halves(name): without_halves(item) for name, item in value.items()}
    return value


class HalfCharacters:
    """The first halves at the end of a choice's texts, which wait for their second half."""

    def __init__(self) -> None:
        self.waiting: dict[str | int, str] = {}  # by the text's name, or by the tool call's or block's index
        self._types: dict[int, str] = {}  # of a block's delta

    def joined(self, delta: Json) -> Json:
        """The delta with whole characters only."""
        whole: Json = {
            name: self._whole(name, value) if name in _JOINED and isinstance(value, str) else value
            for name, value in delta.items()
        }
        for call in whole.get("tool_calls") or []:
            function = call.get("function")
            if isinstance(function, dict) and isinstance(function.get("arguments"), str):
                function["arguments"] = self._whole(call["index"], function["arguments"])
        return without_halves(whole)  # type: ignore[no-any-return]

    def end(self) -> Json:
        """A delta of replacements for the halves whose other half never came."""
        texts = {name: REPLACEMENT for name in self.waiting if isinstance(name, str)}
        calls = [
            {"index": index, "function": {"arguments": REPLACEMENT}}
            for index in self.waiting
            if isinstance(index, int)
        ]
        self.waiting = {}
        return texts | ({"tool_calls": calls} if calls else {})

    def joined_delta(self, index: int, delta: Json) -> Json:
        """The delta of one of Anthropic's blocks with whole characters only."""
        field = EVENT_TEXTS.get(delta.get("type", ""))
        if field is None:
            return delta
        text = self._whole(index, delta[field])
        if index in self.waiting:
            self._types[index] = delta["type"]
        return {**delta, field: text}

    def flushed(self, index: int) -> Json | None:
        """A delta of one replacement if a block ends with half of a character."""
        if self.waiting.pop(index, None) is None:
            return None
        kind = self._types[index]
        return {"type": kind, EVENT_TEXTS[kind]: REPLACEMENT}

    def _whole(self, name: str | int, text: str) -> str:
        text = self.waiting.pop(name, "") + text
        if text and "\ud800" <= text[-1] <= "\udbff":
            self.waiting[name] = text[-1]
            text = text[:-1]
        return text
