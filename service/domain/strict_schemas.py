"""Whether OpenAI's strict mode accepts a JSON schema: Anthropic's structured output has other rules."""

from __future__ import annotations

from typing import Any

_NAMED = ("properties", "$defs", "definitions")  # schemas by name
_LISTED = ("anyOf", "allOf", "oneOf", "prefixItems")


def is_strict(schema: Any) -> bool:
    """Whether every object in it requires all its properties and allows no others."""
    if not isinstance(schema, dict):
        return True
    if _is_object(schema) and not _is_closed(schema):
        return False
    inner = [schema.get("items")]
    for name in _NAMED:
        inner += schema[name].values() if isinstance(schema.get(name), dict) else []
    for name in _LISTED:
        inner += schema[name] if isinstance(schema.get(name), list) else []
    return all(map(is_strict, inner))


def _is_object(schema: dict[str, Any]) -> bool:
    kind = schema.get("type")
    return "properties" in schema or kind == "object" or (isinstance(kind, list) and "object" in kind)


def _is_closed(schema: dict[str, Any]) -> bool:
    properties, required = schema.get("properties") or {}, schema.get("required") or []
    if not isinstance(properties, dict) or not isinstance(required, list):
        return False
    return schema.get("additionalProperties") is False and all(name in required for name in properties)
