"""The events of a message in Anthropic's form: begun, numbered and ended, whatever the provider left out."""

from __future__ import annotations

from collections.abc import Iterator

from service.domain.basics import Json
from service.errors import ProviderBroken
from service.providers.normaliser.characters import EVENT_TEXTS
from service.providers.normaliser.message import Blocks, frame
from service.providers.normaliser.tool_calls import whole_number

_BLOCKS = {"text_delta": {"type": "text", "text": ""}, "thinking_delta": {"type": "thinking", "thinking": ""}}


class EventNormaliser:
    """Gives the events of one message Anthropic's form; a sound event stays the same object."""

    def __init__(self) -> None:
        self.stop_reason: str | None = None
        self.has_ended = False  # message_stop came
        self.has_content = False
        self.notes: list[str] = []
        self._blocks = Blocks()
        self._is_started = False
        self._indices: dict[int, int] = {}  # a block's index by the provider -> by its order
        self._n_blocks = 0
        self._open: dict[int, None] = {}  # blocks that have not ended, in order

    def continues(self, raw: Json) -> bool:
        """Whether an event is sound and only adds text to a block that has begun."""
        index, delta = raw.get("index"), raw.get("delta")
        if raw.get("type") != "content_block_delta" or type(index) is not int or not isinstance(delta, dict):
            return False
        field = EVENT_TEXTS.get(delta.get("type", ""))
        is_text = field is not None and isinstance(delta.get(field), str)
        return is_text and self._indices.get(index) == index and not self.has_ended

    def events(self, raw: Json) -> Iterator[Json]:
        """The events for the client in place of the provider's. Raises ProviderBroken."""
        kind = raw["type"]
        if self.has_ended or (kind == "message_start" and self._is_started):
            return
        if not self._is_started and kind.startswith(("content_block", "message_")):
            self._is_started = True
            message = raw.get("message")
            started = frame(message if isinstance(message, dict) else {})
            yield (
                {**raw, "type": "message_start", "message": started}
                if kind == "message_start"
                else {
                    "type": "message_start",
                    "message": started,
                }
            )
        match kind:
            case "message_start":
                pass
            case "content_block_start":
                yield from self._begin(raw)
            case "content_block_delta":
                yield from self._delta(raw)
            case "content_block_stop":
                yield from self._stop(raw)
            case "message_delta":
                yield from self._message_delta(raw)
            case "message_stop":
                yield from self._end(raw)
            case _:
                yield raw

    def end(self) -> Iterator[Json]:
        """The events that the client lacks at the end of the stream."""
        if not self.has_ended:
            yield from self._end({"type": "message_stop"})

    def _begin(self, raw: Json) -> Iterator[Json]:
        index = whole_number(raw.get("index"))
        index = self._n_blocks if index is None else index
        if self._indices.get(index) in self._open:
            yield from self._close(self._indices[index])
        number = self._indices[index] = self._n_blocks
        self._n_blocks += 1
        self._open[number] = None
        self.has_content = True
        block = self._blocks.block(raw.get("content_block"))
        is_sound = block is raw.get("content_block") and raw.get("index") == number
        yield raw if is_sound else {**raw, "index": number, "content_block": block}

    def _delta(self, raw: Json) -> Iterator[Json]:
        delta = raw.get("delta")
        if not isinstance(delta, dict):
            return
        field = EVENT_TEXTS.get(delta.get("type", ""))
        if field is not None and not isinstance(delta.get(field), str):
            return
        number = self._number(raw)
        if number is None:
            block = _BLOCKS.get(delta.get("type", ""))
            if block is None:
                raise ProviderBroken("the model continued a part of its answer that it had not begun")
            index = raw.get("index")
            yield from self._begin(
                {"type": "content_block_start", "index": index, "content_block": {**block}}
            )
            number = self._n_blocks - 1
        yield raw if raw.get("index") == number else {**raw, "index": number}

    def _stop(self, raw: Json) -> Iterator[Json]:
        number = self._number(raw)
        if number in self._open:
            del self._open[number]
            yield raw if raw.get("index") == number else {**raw, "index": number}

    def _number(self, raw: Json) -> int | None:
        """The block that an event is about: of its index, or the latest that is open."""
        index = whole_number(raw.get("index"))
        return next(reversed(self._open), None) if index is None else self._indices.get(index)

    def _close(self, *numbers: int) -> Iterator[Json]:
        for number in numbers:
            del self._open[number]
            yield {"type": "content_block_stop", "index": number}

    def _message_delta(self, raw: Json) -> Iterator[Json]:
        delta = raw["delta"] if isinstance(raw.get("delta"), dict) else {}
        given = delta.get("stop_reason")
        reason = self._blocks.stop_reason(given)
        if reason is not None:
            self.stop_reason = reason
            yield from self._close(*list(self._open))
        if reason == given and "stop_reason" in delta and isinstance(raw.get("usage"), dict):
            yield raw
            return
        stop = {"stop_sequence": None, **delta, "stop_reason": reason}
        yield {**raw, "delta": stop, "usage": raw.get("usage")}

    def _end(self, raw: Json) -> Iterator[Json]:
        yield from self._close(*list(self._open))
        if self.stop_reason is None:
            self.notes.append("the stream ended without a stop reason")
            yield from self._message_delta({"type": "message_delta", "delta": {"stop_reason": "end_turn"}})
        self.has_ended = True
        yield raw
