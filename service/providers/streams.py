"""Reads the server-sent events of a streamed answer."""

from __future__ import annotations

from codecs import BOM_UTF8

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
