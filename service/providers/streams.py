"""Streamed answers: server-sent events in, chunks that keep the port's promise out."""

from __future__ import annotations

from codecs import BOM_UTF8

from service.domain.answer import Chunk, Usage
from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.usage import estimated_usage, reported, text_bytes, usage_from
from service.errors import ProviderBroken

MAX_EVENT_BYTES = 8 * 2**20


class EventReader:
    """Cuts a byte stream into the data of its server-sent events.

    Works on bytes, so that a character split over two reads is whole again in its event.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._n_data_bytes = 0
        self._has_begun = False

    def feed(self, block: bytes) -> list[bytes]:
        """The data of the events that `block` completes; an empty block ends the stream."""
        lines = self._without_mark(self._rest + block).splitlines(keepends=True)
        # A line without its LF is unfinished; so may be one that ends in CR.
        self._rest = lines.pop() if block and lines and not lines[-1].endswith(b"\n") else b""
        events = [data for line in lines if (data := self._take(line.rstrip(b"\r\n"))) is not None]
        if not block and (data := self._take(b"")) is not None:  # some leave out the last empty line
            events.append(data)
        if len(self._rest) + self._n_data_bytes > MAX_EVENT_BYTES:
            raise ProviderBroken(f"a streamed event has more than {MAX_EVENT_BYTES} bytes")
        return events

    def _without_mark(self, begun: bytes) -> bytes:
        """The bytes without the byte order mark that a stream may begin with."""
        if self._has_begun:
            return begun
        self._has_begun = len(begun) >= len(BOM_UTF8)
        return begun.removeprefix(BOM_UTF8)

    def _take(self, line: bytes) -> bytes | None:
        """The finished event's data at its closing empty line; only `data:` fields matter to us."""
        if not line:
            data = b"\n".join(self._data)
            self._data, self._n_data_bytes = [], 0
            return data or None
        name, _, value = line.partition(b":")
        if name == b"data":
            value = value.removeprefix(b" ")
            self._data.append(value)
            self._n_data_bytes += len(value)
        return None


class StreamNormaliser:
    """Watches the pieces of one stream go by, and writes the last one.

    Providers report usage in a piece of its own, with the last one, with every one, or never. Here
    it always comes once, in a closing piece without choices.
    """

    def __init__(self, arm: Arm, body: Json) -> None:
        self._arm = arm
        self._body = body
        self._frame: Json = {}
        self._usage: Usage | None = None
        self._reported: object = None
        self._n_answer_bytes = 0
        self._started: set[int] = set()
        self._finished: set[int] = set()

    def take(self, piece: Json) -> Chunk | None:
        """The piece as a caller should see it; None when it only carried usage.

        Raises:
            ProviderBroken: it is no chat completion chunk.
        """
        report = piece.pop("usage", None)
        if (usage := usage_from(report)) is not None:
            self._usage, self._reported = usage, report
        choices = piece.get("choices")
        if not isinstance(choices, list) or not all(map(_is_choice, choices)):
            raise ProviderBroken(f"{self._arm.model} streamed something else than a chat completion")
        if not choices:
            return None
        for choice in choices:
            self._note(choice)
        self._frame = piece
        return Chunk(piece)

    def _note(self, choice: Json) -> None:
        index = choice.get("index", 0)
        self._started.add(index)
        self._n_answer_bytes += text_bytes(choice.get("delta"))
        if choice.get("finish_reason"):
            self._finished.add(index)

    @property
    def is_whole(self) -> bool:
        """Whether every choice that was asked for has ended, so that only usage may be missing."""
        return self._started == self._finished and len(self._finished) >= (self._body.get("n") or 1)

    def end(self) -> Chunk:
        """The closing piece.

        Raises:
            ProviderBroken: the stream was cut off, or empty.
        """
        if not self._started:
            raise ProviderBroken(f"{self._arm.model} streamed nothing")
        if self._started != self._finished:
            raise ProviderBroken(f"{self._arm.model} stopped streaming before its answer was complete")
        usage = self._usage or estimated_usage(self._body, self._n_answer_bytes)
        report = self._reported if self._usage else reported(usage)
        return Chunk({**self._frame, "choices": [], "usage": report}, usage)


def _is_choice(choice: object) -> bool:
    return isinstance(choice, dict) and isinstance(choice.get("index", 0), int) and ends_well(choice)


def ends_well(choice: Json) -> bool:
    """Whether a choice has a sound finish reason, or none; OpenRouter says `error` where it broke off."""
    reason = choice.get("finish_reason")
    return reason is None or (isinstance(reason, str) and reason != "error")
