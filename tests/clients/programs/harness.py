"""Gives every program the router's address, and reports what its package returned."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tests.clients.features import ON_EVERY_MODEL, SEEN

URL = os.environ["ROUTER_URL"]
MODELS = os.environ["ROUTER_MODELS"].split(",")  # used by this client only
HEADERS = {"X-Router-Models": ",".join(MODELS)}
KEY = "any"
AUTO = "auto"
TRIES, PAUSE_S = 100, 0.1
CITY_SCHEMA = {
    "title": "city",
    "description": "A city.",
    "type": "object",
    "properties": {"city": {"type": "string"}, "population": {"type": "integer"}},
    "required": ["city", "population"],
    "additionalProperties": False,
}

Features = dict[str, Callable[[], Any]]


def report(
    features: Callable[[str], Features],
    models: Sequence[str] = MODELS,
    on_every_model: Sequence[str] = ON_EVERY_MODEL,
) -> None:
    """Try every feature, and print the results as JSON.

    Args:
        features: the features of the package when it asks for a model of this name.
        models: the models that `every model` tries.
        on_every_model: the features that it tries on each.
    """
    seen = {name: _seen(feature) for name, feature in features(AUTO).items()}
    print(json.dumps({**seen, "every model": dict(_differing(features, models, on_every_model))}))


def _differing(
    features: Callable[[str], Features], models: Sequence[str], names: Sequence[str]
) -> Iterator[tuple[str, Any]]:
    for model in models:
        for name, feature in features(model).items():
            if name in names and (seen := _seen(feature)) != SEEN[name]:
                yield f"{name} on {model}", seen


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


def rated(answer_id: str) -> Any:
    """Rate an answer by the id that the package shows, and find its cost."""
    effect = _json("/feedback", {"request_id": answer_id, "score": 1})
    if "error" in effect:
        return effect
    for _ in range(TRIES):  # the log is written behind the answer
        record = _json(f"/requests/{answer_id}")
        if (record.get("outcome") or {}).get("cost_usd"):
            return {"accepted": True, "cost": True}
        time.sleep(PAUSE_S)
    return record


def _json(path: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


def _seen(feature: Callable[[], Any]) -> Any:
    try:
        return feature()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
