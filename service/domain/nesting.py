"""The nesting limit of JSON: orjson reads about 1,000 levels, but writes only about 250."""

from __future__ import annotations

from typing import Any

MAX_REQUEST_DEPTH = 100  # in a request
MAX_ANSWER_DEPTH = 200  # in an upstream's answer, which the router wraps in a few more levels


def is_deeper_than(limit: int, value: object) -> bool:
    """Whether objects and lists are nested on more levels than the limit."""
    level: list[Any] = [value] if isinstance(value, dict | list) else []
    for _ in range(limit):
        inner = [
            v
            for container in level
            for v in (container.values() if isinstance(container, dict) else container)
        ]
        level = [v for v in inner if isinstance(v, dict | list)]
        if not level:
            return False
    return True
