"""Validate JSON against a client's schema, in bounded time and without fetching anything."""

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

# Not checked: regular expressions may run for ever, and comparing all pairs of items is slow.
IGNORED_KEYWORDS = ("pattern", "format", "uniqueItems")
# A schema with one of these is not checked: they contain expressions, or refer to other drafts and documents.
UNCHECKED_KEYWORDS = (
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
    """Whether the text is JSON that fits the schema; True if that cannot be checked."""
    if len(text) > MAX_TEXT_CHARS:
        return True
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    rules = {name: rule for name, rule in schema.items() if name not in ("$schema", "$id")}
    written = orjson.dumps(rules)
    if len(written) > MAX_SCHEMA_BYTES or any(name in written for name in UNCHECKED_KEYWORDS):
        return True
    _steps.set(_Steps())
    try:
        return bool(_Validator(rules, registry=Registry()).is_valid(value))
    except Exception:
        return True  # the schema is invalid, so the answer cannot be checked


@dataclass(slots=True)
class _Steps:
    n: int = 0

    def add(self, n: int) -> None:
        """Count steps. Raises ValueError beyond MAX_STEPS."""
        self.n += n
        if self.n > MAX_STEPS:
            raise ValueError(f"more than {MAX_STEPS} steps")


_steps: ContextVar[_Steps] = ContextVar("steps")


def _counted(keyword: Keyword, size: Callable[[object], int]) -> Keyword:
    def check(validator: Any, rule: Any, instance: Any, schema: Any) -> Iterator[Any] | None:
        items = len(instance) if isinstance(instance, list | dict) else 0
        _steps.get().add(1 + items + size(rule))
        return keyword(validator, rule, instance, schema)

    return check


def _length(rule: object) -> int:
    return len(rule) if isinstance(rule, Sized) else 0


def _size(rule: object) -> int:
    """Bytes of a rule that an instance is compared with in depth."""
    return len(orjson.dumps(rule))


def _nothing(validator: Any, rule: Any, instance: Any, schema: Any) -> None:
    return None


_Validator = extend(
    Draft202012Validator,
    {
        name: _counted(keyword, _size if name in ("enum", "const") else _length)
        for name, keyword in Draft202012Validator.VALIDATORS.items()
    }
    | dict.fromkeys(IGNORED_KEYWORDS, _nothing),
)
