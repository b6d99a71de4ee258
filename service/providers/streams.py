"""Streamed answers: server-sent events in, chunks in the form of the ModelClient port out."""

from __future__ import annotations

from codecs import BOM_UTF8

from service.domain.answer import Chunk
from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.usage import settled, shown, text_bytes
from service.domain.usage_report import merged, report_in, usage_from
from service.errors import ProviderBroken

MAX_EVENT_BYTES = 8 * 2**20


class EventReader:
    """Splits a byte stream into the data of its server-sent events.

    It works on bytes, so that a character that two reads split is whole in its event.
    """

    def __init__(self) -> None:
        self._line = bytearray()  # the line that has not ended yet
        self._data = bytearray()  # of the event that has not ended yet, each line with an LF
        self._is_first_line = True
        self._ended_with_cr = False

    def feed(self, block: bytes) -> list[bytes]:
        """The data of the events that `block` completes; an empty block ends the stream.

        The work is proportional to the bytes, however small the blocks are.
        """
        events = [data for line in self._lines(block) if (data := self._add(line)) is not None]
        if not block and (data := self._add(b"")) is not None:  # some upstreams omit the last empty line
            events.append(data)
        if len(self._line) + len(self._data) > MAX_EVENT_BYTES:
            raise ProviderBroken(f"a streamed event has more than {MAX_EVENT_BYTES} bytes")
        return events

    def _lines(self, block: bytes) -> list[bytes]:
        """The lines that `block` completes, without their ends."""
        unread = block.removeprefix(b"\n") if self._ended_with_cr else block
        self._ended_with_cr = block.endswith(b"\r")
        self._line += unread
        if block and b"\n" not in unread and b"\r" not in unread:
            return []
        lines = bytes(self._line).splitlines()
        is_whole = not block or unread.endswith((b"\n", b"\r"))
        self._line = bytearray() if is_whole else bytearray(lines.pop())
        if lines and self._is_first_line:
            lines[0] = lines[0].removeprefix(BOM_UTF8)
            self._is_first_line = False
        return lines

    def _add(self, line: bytes) -> bytes | None:
        """Add a line to the event and return its data if the line closes it. Only `data:` lines count."""
        if not line:
            data, self._data = bytes(self._data[:-1]), bytearray()
            return data or None
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data += value.removeprefix(b" ") + b"\n"
        return None


class StreamNormaliser:
    """Gives the chunks of one stream the same form, and adds the closing chunk.

    Providers report usage in a chunk of its own, with the last chunk, with every chunk, or never. The
    normalised stream has it once, in a closing chunk without choices.
    """

    def __init__(self, arm: Arm, body: Json) -> None:
        self._arm = arm
        self._body = body
        self._frame: Json = {}
        self._report: Json = {}
        self._n_answer_bytes = 0
        self._started: set[int] = set()
        self._finished: set[int] = set()

    def chunk(self, raw: Json) -> Chunk | None:
        """The chunk for the client; None if the upstream's chunk contained only usage.

        Raises:
            ProviderBroken: the upstream's JSON is no chat completion chunk.
        """
        choices = raw.get("choices")
        if (report := report_in(raw)) is not None:
            self._report = merged(self._report, report, is_final=not choices)
        raw.pop("usage", None)
        if not isinstance(choices, list) or not all(map(_is_choice, choices)):
            raise ProviderBroken(f"{self._arm.model} streamed something other than a chat completion")
        if not choices:
            return None
        for choice in choices:
            self._record(choice)
        self._frame = raw
        return Chunk(raw)

    def _record(self, choice: Json) -> None:
        index = choice.get("index", 0)
        self._started.add(index)
        self._n_answer_bytes += text_bytes(choice.get("delta"))
        if choice.get("finish_reason"):
            self._finished.add(index)

    @property
    def is_whole(self) -> bool:
        """Whether every requested choice has ended, so that only usage may be missing."""
        return self._started == self._finished and len(self._finished) >= (self._body.get("n") or 1)

    def end(self) -> Chunk:
        """The closing chunk.

        Raises:
            ProviderBroken: the stream was cut off or is empty.
        """
        if not self._started:
            raise ProviderBroken(f"{self._arm.model} streamed nothing")
        if self._started != self._finished:
            raise ProviderBroken(f"{self._arm.model} stopped streaming before its answer was complete")
        usage = settled(usage_from(self._report), self._body, self._n_answer_bytes)
        return Chunk({**self._frame, "choices": [], "usage": shown(self._report, usage)}, usage)


def _is_choice(choice: object) -> bool:
    return isinstance(choice, dict) and isinstance(choice.get("index", 0), int) and ends_well(choice)


def ends_well(choice: Json) -> bool:
    """Whether a choice has a valid finish reason or none; OpenRouter sends `error` for a broken stream."""
    reason = choice.get("finish_reason")
    return reason is None or (isinstance(reason, str) and reason != "error")
