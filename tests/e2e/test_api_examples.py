"""The examples of /docs are what a router answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.api_examples import FILE, examples
from tests.doc_commands import mismatch
from tests.e2e.running import RunningRouter


def test_the_examples_have_the_shape_of_real_answers(serve: Callable[..., RunningRouter]) -> None:
    shown = json.loads(FILE.read_text("utf-8"))

    real = examples(serve(store_texts="true").url)

    assert shown.keys() == real.keys()
    differing = {name: mismatch(comparable(shown[name]), comparable(real[name])) for name in shown}
    assert {name: found for name, found in differing.items() if found} == {}


def comparable(value: Any) -> Any:
    """Without what depends on the models that were drawn and on how they answered."""
    if isinstance(value, dict):
        return {
            name: comparable(item)
            for name, item in value.items()
            if name not in ("calls", "evidence", "report")
        }
    return [comparable(item) for item in value] if isinstance(value, list) else value
