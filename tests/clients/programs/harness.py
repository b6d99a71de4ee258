"""Gives every program the router's address, and reports what its package returned."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

URL = os.environ["ROUTER_URL"]
MODELS = os.environ["ROUTER_MODELS"]  # used by this client only
HEADERS = {"X-Router-Models": MODELS}
KEY = "any"
CITY_SCHEMA = {
    "title": "city",
    "description": "A city.",
    "type": "object",
    "properties": {"city": {"type": "string"}, "population": {"type": "integer"}},
    "required": ["city", "population"],
    "additionalProperties": False,
}


def report(features: dict[str, Callable[[], Any]]) -> None:
    """Try every feature, and print the results as JSON."""
    print(json.dumps({name: _seen(feature) for name, feature in features.items()}))


def refused(call: Callable[[], Any], error: type[Exception], *named: str) -> Any:
    """The status of the package's error, and whether its message contains `named`."""
    try:
        return call()
    except error as raised:
        return {"status": raised.status_code, "named": all(n in str(raised) for n in named)}  # type: ignore[attr-defined]


def raises(call: Callable[[], Any], error: type[Exception]) -> Any:
    """`"error"` if the package raises the error, otherwise the result."""
    try:
        return call()
    except error:
        return "error"


def _seen(feature: Callable[[], Any]) -> Any:
    try:
        return feature()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
