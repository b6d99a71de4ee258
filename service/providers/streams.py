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
        self._rest = b""
        self._data: list[bytes] = []
        self._n_data_bytes = 0
        self._has_begun = False

    def feed(self, block: bytes) -> list[bytes]:
        """The data of the events that `block` completes; an empty block ends the stream."""
        lines = self._without_mark(self._rest + block).splitlines(keepends=True)
        # A line without LF is not complete yet; an LF may still follow its CR.
        self._rest = lines.pop() if block and lines and not lines[-1].endswith(b"\n") else b""
        events = [data for line in lines if (data := self._add(line.rstrip(b"\r\n"))) is not None]
        if not block and (data := self._add(b"")) is not None:  # some upstreams omit the last empty line
            events.append(data)
        if len(self._rest) + self._n_data_bytes > MAX_EVENT_BYTES:
            raise ProviderBroken(f"a streamed event has more than {MAX_EVENT_BYTES} bytes")
        return events

    def _without_mark(self, block: bytes) -> bytes:
        """The bytes without the byte order mark that a stream may begin with."""
        if self._has_begun:
            return block
        self._has_begun = len(block) >= len(BOM_UTF8)
        return block.removeprefix(BOM_UTF8)

    def _add(self, line: bytes) -> bytes | None:
        """Add a line to the event and return its data if the line closes it. Only `data:` lines count."""
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
