"""Reads the body of an answer: server-sent events, or one JSON document; the body itself says which."""

from __future__ import annotations

from codecs import BOM_UTF8

from service.errors import ProviderBroken

MAX_ANSWER_BYTES = 32 * 2**20
MAX_EVENT_BYTES = 8 * 2**20
MAX_STREAM_BYTES = 2**29  # the longest answers, token by token with their probabilities, are smaller
_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")  # that a line of events begins with


class BodyReader:
    """Splits the bytes of an answer into the data of its events; a JSON document counts as one event.

    Servers and proxies send either under the content type of the other.
    """

    def __init__(self) -> None:
        self._start = b""  # until its first character tells what the body is
        self._document: bytearray | None = None
        self._events: EventReader | None = None

    def feed(self, block: bytes) -> list[bytes]:
        """The data of the events that `block` completes; an empty block ends the body."""
        if self._events is not None:
            return self._events.feed(block)
        if self._document is None:
            self._start += block
            start = without_mark(self._start)
            if block and BOM_UTF8.startswith(start):
                self._start = _shortened(self._start) + start
                return []
            if start.startswith((b"{", b"[")):
                self._document = bytearray(start)
            else:
                self._events = EventReader()
                return [*self._events.feed(self._start), *(self._events.feed(b"") if not block else ())]
        else:
            self._document += block
        if len(self._document) > MAX_ANSWER_BYTES:
            raise ProviderBroken(f"an answer has more than {MAX_ANSWER_BYTES} bytes")
        if block:
            return []
        self._events = EventReader()  # nothing comes any more
        return [bytes(self._document)]


def _shortened(blank: bytes) -> bytes:
    """What matters of white space, which may come for ever: a mark, and whether a line has begun."""
    mark = BOM_UTF8 if BOM_UTF8 in blank else b""
    return mark + (b"" if blank.endswith((b"\n", b"\r")) else b" " * blank[-1:].isspace())


class BytesLeft:
    """What a stream may still bring: bytes that are no event, and bytes of any kind."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._n_bytes = 0
        self._n_at_event = 0

    def take(self, n_bytes: int, *, is_event: bool) -> None:
        """Count bytes, of which some completed an event or none did.

        Raises:
            ProviderBroken: there are too many.
        """
        self._n_bytes += n_bytes
        if is_event:
            self._n_at_event = self._n_bytes
        if self._n_bytes - self._n_at_event > MAX_ANSWER_BYTES:
            raise ProviderBroken(f"{self._model} sent more than {MAX_ANSWER_BYTES} bytes without an event")
        if self._n_bytes > MAX_STREAM_BYTES:
            raise ProviderBroken(f"{self._model} sent a stream of more than {MAX_STREAM_BYTES} bytes")


def events_in(body: bytes) -> list[bytes] | None:
    """The data of the events in a whole body; None if it has none."""
    if not without_mark(body).startswith(_FIELDS):
        return None
    reader = EventReader()
    return [*reader.feed(body), *reader.feed(b"")]


def without_mark(body: bytes) -> bytes:
    """The bytes without a byte order mark and white space at the beginning."""
    return body.lstrip().removeprefix(BOM_UTF8).lstrip()


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
        if self._is_between_events and (plain := plain_events(block)) is not None:
            self._is_first_line = False
            return plain
        events = [data for line in self._lines(block) if (data := self._add(line)) is not None]
        if not block and (data := self._add(b"")) is not None:  # some upstreams omit the last empty line
            events.append(data)
        if len(self._line) + len(self._data) > MAX_EVENT_BYTES:
            raise ProviderBroken(f"a streamed event has more than {MAX_EVENT_BYTES} bytes")
        return events

    @property
    def _is_between_events(self) -> bool:
        return not (self._line or self._data or self._ended_with_cr)

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
        """Add a line to the event and return its data if the line closes it.

        Only `data:` lines count, and lines that are JSON without it.
        """
        if not line:
            data, self._data = bytes(self._data[:-1]), bytearray()
            return data or None
        if line.startswith(b"{") and not self._data:
            return line
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data += value.removeprefix(b" ") + b"\n"
        return None


def plain_events(block: bytes) -> list[bytes] | None:
    """The data of whole events, each of which is one line of data; None: the block has another form."""
    if b"\r" in block or not block.endswith(b"\n\n"):
        return None
    events = block[:-2].split(b"\n\n")
    for event in events:
        if not event.startswith(b"data: ") or b"\n" in event:
            return None
    return [data for event in events if (data := event[6:])]
