"""JSON as providers write it: what the standard forbids is read where its meaning is clear."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from typing import Any

from service.domain.bounded_json import ANSWER, OutOfBounds, check_bounds

DONE = "[DONE]"
_MAX_DIGITS = 18  # of an integer that every JSON reader keeps exact


def lenient_values(data: bytes) -> list[object]:
    """The JSON values at the beginning of the data; the end marker of a stream counts as one.

    `NaN` and infinities are null, control characters may stand in strings, bytes that are no UTF-8 are
    replaced, and whatever follows the last value is ignored. Halves of surrogate pairs stay in the strings.
    Data too large or too deep to be passed on has none.
    """
    try:
        check_bounds(data, ANSWER)
    except OutOfBounds:
        return []
    text = data.removeprefix(BOM_UTF8).decode("utf-8", "replace")
    values: list[object] = []
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
        elif text.startswith(DONE, position):
            return [*values, DONE]
        else:
            try:
                value, position = _DECODER.raw_decode(text, position)
            except (ValueError, RecursionError):
                break
            values.append(value)
    return values


def _null(name: str) -> None:
    """`NaN` or an infinity, which JSON does not have."""


def _integer(digits: str) -> Any:
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)


_DECODER = json.JSONDecoder(strict=False, parse_constant=_null, parse_int=_integer)
