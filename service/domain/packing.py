"""Arrays and texts as bytes: the writer and the reader of a packed row."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Number = npt.NDArray[Any]

# How a row of floats is written; every way is exact.
_ZERO, _ONE_SINGLE, _ONE_DOUBLE, _SINGLES, _DOUBLES = range(5)
_KINDS = ((_ONE_SINGLE, "f"), (_ONE_DOUBLE, "d"), (_SINGLES, "f"), (_DOUBLES, "d"))
_WIDTHS = (1, 2, 4, 8)  # bits of a small number


class Writer:
    """Collects the bytes of one packed row."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def bytes(self) -> bytes:
        return b"".join(self._parts)

    def fields(self, form: str, *values: int) -> None:
        self._parts.append(struct.pack(f"<{form}", *values))

    def array(self, values: Number, kind: str) -> None:
        self._parts.append(values.astype(f"<{kind}", copy=False).tobytes())

    def texts(self, texts: Sequence[str | None]) -> None:
        """None is written as an empty text."""
        joined = "\0".join(text or "" for text in texts).encode("utf-8", "replace")
        self.fields("HI", len(texts), len(joined))
        self._parts.append(joined)

    def small(self, values: Number, n: int) -> None:
        """Whole numbers below `n`, which the reader knows: with as few bits as they need."""
        if n <= 1:
            return
        width = _width(n)
        if width >= 8:
            self.array(values, "u1" if width == 8 else "u2")
            return
        bits = np.unpackbits(values.astype(np.uint8)[:, None], axis=1)
        self._parts.append(np.packbits(bits[:, -width:]).tobytes())

    def repeated(self, codes: npt.NDArray[np.uint16]) -> None:
        """Codes of which few differ: each one once, and which is where; or as they are."""
        # Of a hundred codes a set takes a quarter of the time of `np.unique`.
        table = sorted(set(codes.tolist()))
        if len(table) == 1:
            self.fields("HH", 1, table[0])
            return
        if 2 * len(table) + codes.size * _width(len(table)) // 8 >= 2 * codes.size:
            self.fields("H", 0)
            self.array(codes, "u2")
            return
        known = np.array(table, dtype=np.uint16)
        self.fields("H", known.size)
        self.array(known, "u2")
        self.small(known.searchsorted(codes), known.size)

    def rows(self, rows: Sequence[list[float]], singles: Sequence[list[float]]) -> None:
        """Rows of one length, none of them NaN, each in the shortest exact way.

        Lists: arms are so few that a call of numpy for a row costs more than its numbers do.

        Args:
            singles: the rows as float32.
        """
        ways: list[int] = []
        written: list[list[float]] = [[] for _ in range(_DOUBLES + 1)]
        for row, single in zip(rows, singles, strict=True):
            is_one = row.count(row[0]) == len(row)
            way = (_ONE_DOUBLE if is_one else _DOUBLES) - (row == single)
            if is_one and row[0] == 0:
                way = _ZERO
            else:
                written[way] += row[:1] if is_one else row
            ways.append(way)
        pairs = zip(ways[::2], [*ways[1::2], 0], strict=False)
        self._parts.append(bytes([way << 4 | next_way for way, next_way in pairs]))
        for way, kind in _KINDS:
            numbers = written[way]
            self._parts.append(struct.pack(f"<{len(numbers)}{kind}", *numbers))


class Reader:
    """Reads what a Writer wrote, in the same order."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def fields(self, form: str) -> tuple[int, ...]:
        values = struct.unpack_from(f"<{form}", self._data, self._at)
        self._at += struct.calcsize(f"<{form}")
        return values

    def array(self, n: int, kind: str) -> Number:
        values = np.frombuffer(self._data, f"<{kind}", n, self._at)
        self._at += values.nbytes
        return values

    def texts(self) -> list[str]:
        n, size = self.fields("HI")
        joined = self._data[self._at : self._at + size].decode()
        self._at += size
        return joined.split("\0") if n else []

    def small(self, size: int, n: int) -> Ints:
        if n <= 1:
            return np.zeros(size, dtype=np.int64)
        width = _width(n)
        if width >= 8:
            return self.array(size, "u1" if width == 8 else "u2").astype(np.int64)
        bits = np.unpackbits(self.array(-(-size * width // 8), "u1"), count=size * width)
        return bits.reshape(size, width).astype(np.int64) @ (1 << np.arange(width - 1, -1, -1))

    def repeated(self, size: int) -> npt.NDArray[np.uint16]:
        (n,) = self.fields("H")
        if n == 0:
            return self.array(size, "u2")
        table = self.array(n, "u2")
        return table[self.small(size, n)]

    def rows(self, n_rows: int, n: int) -> Floats:
        rows = np.zeros((n_rows, n))
        if not rows.size:
            return rows
        pairs = self.array(-(-n_rows // 2), "u1")
        how = np.stack([pairs >> 4, pairs & 15], axis=1).ravel()[:n_rows]
        for way, kind in ((_ONE_SINGLE, "f4"), (_ONE_DOUBLE, "f8")):
            is_written = how == way
            rows[is_written] = self.array(int(is_written.sum()), kind)[:, None]
        for way, kind in ((_SINGLES, "f4"), (_DOUBLES, "f8")):
            is_written = how == way
            rows[is_written] = self.array(int(is_written.sum()) * n, kind).reshape(-1, n)
        return rows


def _width(n: int) -> int:
    return next((width for width in _WIDTHS if n <= 1 << width), 16)
