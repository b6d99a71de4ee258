"""Whether a text is JSON of a caller's schema, in bounded time and without fetching anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sized
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it ships no types
from jsonschema.validators import extend  # type: ignore[import-untyped]
from referencing import Registry

from service.domain.basics import Json

MAX_TEXT_CHARS = 100_000
MAX_SCHEMA_BYTES = 50_000
MAX_STEPS = 50_000  # well under a second; nested references may ask for 2^100

# Not looked at. Regular expressions may take for ever, and comparing each item with each takes long.
IGNORED = ("pattern", "format", "uniqueItems")
# With these, nothing can be told: they hold expressions too, or lead to rules of other drafts and places.
UNTESTED = (
    b'"patternProperties":',
    b'"unevaluatedProperties":',
    b'"unevaluatedItems":',
    b'"$schema":',
    b'"$id":',
    b'"$anchor":',
    b'"$dynamicAnchor":',
    b'"$dynamicRef":',
)

Keyword: TypeAlias = Callable[[Any, Any, Any, Any], Iterator[Any] | None]


def is_valid(text: str, schema: Json) -> bool:
    """Whether the text is JSON that fits the schema; True where that cannot be told."""
    if len(text) > MAX_TEXT_CHARS:
        return True
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    rules = {name: rule for name, rule in schema.items() if name not in ("$schema", "$id")}
    written = orjson.dumps(rules)
    if len(written) > MAX_SCHEMA_BYTES or any(name in written for name in UNTESTED):
        return True
    _steps.set(_Steps())
    try:
        return bool(_Validator(rules, registry=Registry()).is_valid(value))
    except Exception:
        return True  # a schema that makes no sense, in any of many ways, says nothing of the answer


@dataclass(slots=True)
class _Steps:
    taken: int = 0

    def take(self, n: int) -> None:
        """Raises ValueError when it was enough."""
        self.taken += n
        if self.taken > MAX_STEPS:
            raise ValueError(f"more than {MAX_STEPS} steps")


_steps: ContextVar[_Steps] = ContextVar("steps")


def _counted(keyword: Keyword, size: Callable[[object], int]) -> Keyword:
    def check(validator: Any, rule: Any, instance: Any, schema: Any) -> Iterator[Any] | None:
        items = len(instance) if isinstance(instance, list | dict) else 0
        _steps.get().take(1 + items + size(rule))
        return keyword(validator, rule, instance, schema)

    return check


def _length(rule: object) -> int:
    return len(rule) if isinstance(rule, Sized) else 0


def _size(rule: object) -> int:
    """Of what an instance may have to be compared with in depth."""
    return len(orjson.dumps(rule))


def _nothing(validator: Any, rule: Any, instance: Any, schema: Any) -> None:
    return None


_Validator = extend(
    Draft202012Validator,
    {
        name: _counted(keyword, _size if name in ("enum", "const") else _length)
        for name, keyword in Draft202012Validator.VALIDATORS.items()
    }
    | dict.fromkeys(IGNORED, _nothing),
)
