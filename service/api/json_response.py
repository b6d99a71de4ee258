"""JSON responses, written by orjson."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import orjson
from starlette.responses import Response


class JsonAnswer(Response):
    """A JSON response. It writes Decimal values as numbers."""

    media_type = "application/json"

    def __init__(
        self, content: Any, status_code: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        self.status_code = status_code
        self.background = None
        self.body = body = orjson.dumps(content, default=_number)
        self.raw_headers = [
            *[(name.lower().encode(), text.encode("latin-1")) for name, text in (headers or {}).items()],
            (b"content-length", b"%d" % len(body)),
            (b"content-type", b"application/json"),
        ]


def _number(value: object) -> float:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
