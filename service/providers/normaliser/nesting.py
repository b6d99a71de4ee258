"""Where a JSON text that comes in pieces stands, in time proportional to its length."""

from __future__ import annotations

import re

_OUTSIDE = re.compile(r'["{}\[\]]')
_INSIDE = re.compile(r'["\\]')  # of a string


class Nesting:
    """The nesting of a JSON object or list so far."""

    def __init__(self) -> None:
        self.is_closed = False  # the first object or list has ended
        self._depth = 0
        self.is_string = False  # the text has stopped inside a string
        self._is_escaped = False

    def add(self, text: str) -> None:
        position = 1 if self._is_escaped and text else 0
        self._is_escaped = self._is_escaped and not text
        while found := (_INSIDE if self.is_string else _OUTSIDE).search(text, position):
            position = found.end()
            match found[0]:
                case '"':
                    self.is_string = not self.is_string
                case "\\":
                    self._is_escaped = position == len(text)
                    position += 1
                case "{" | "[":
                    self._depth += 1
                case _:
                    self._depth -= 1
                    self.is_closed = self.is_closed or self._depth == 0
