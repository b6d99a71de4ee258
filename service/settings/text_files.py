"""Text files that the operator wrote, `.env` and YAML: UTF-8, with or without a byte order mark."""

from __future__ import annotations

import codecs
from pathlib import Path

UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class UnreadableText(Exception):
    """A file that cannot be read as text; the message says what to do."""


def text_of(path: Path) -> str:
    """The text of a file. Raises UnreadableText."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableText(f"cannot read {path}: {error.strerror}") from error
    if data.startswith(UTF_16_MARKS) or b"\0" in data:
        raise UnreadableText(f"{path} is UTF-16 text: {_saved_as_utf_8(path, 'UTF-16')}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        remedy = _saved_as_utf_8(path, "WINDOWS-1252")
        raise UnreadableText(f"{path}, line {line}: not UTF-8 text, perhaps Latin-1: {remedy}") from error


def _saved_as_utf_8(path: Path, encoding: str) -> str:
    return f"save it as UTF-8, for example with `iconv -f {encoding} -t UTF-8 {path.name}`"
