"""Translates Google's schemas, a subset of OpenAPI's, into JSON schemas."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from service.domain.basics import Json

_NAMES = {  # of Google's schemas in snake_case
    "additional_properties": "additionalProperties",
    "any_of": "anyOf",
    "defs": "$defs",
    "max_items": "maxItems",
    "max_length": "maxLength",
    "max_properties": "maxProperties",
    "min_items": "minItems",
    "min_length": "minLength",
    "min_properties": "minProperties",
    "ref": "$ref",
}
_LEFT_OUT = frozenset({"nullable", "propertyOrdering", "property_ordering", "example"})
MAX_DIGITS = 18  # of a number of 64 bits
_NO_TYPES = frozenset({"TYPE_UNSPECIFIED"})
_COUNTS = frozenset({"maxItems", "maxLength", "maxProperties", "minItems", "minLength", "minProperties"})


def json_schema(schema: Any) -> Any:
    """The schema with JSON schema's names of types and fields; one that is a JSON schema already stays."""
    if not isinstance(schema, dict):
        return schema
    translated: Json = {}
    for given, value in schema.items():
        if given not in _LEFT_OUT and not (given == "format" and value == "enum"):
            name = str(_NAMES.get(given, given))
            translated[name] = _TRANSLATIONS.get(name, _same)(value)
    if translated.get("type", "") is None:
        del translated["type"]
    return _nullable(translated) if schema.get("nullable") is True else translated


def _same(value: Any) -> Any:
    return value


def _type(value: Any) -> Any:
    if isinstance(value, list):
        return [_type(item) for item in value]
    if not isinstance(value, str):
        return value  # which is no schema, as the provider will say
    return None if value in _NO_TYPES else value.lower()


def _each(value: Any) -> Any:
    return [json_schema(item) for item in value] if isinstance(value, list) else json_schema(value)


def _by_name(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {name: json_schema(schema) for name, schema in value.items()}


def _count(value: Any) -> Any:
    """Google writes 64-bit integers as strings."""
    is_count = isinstance(value, str) and len(value) <= MAX_DIGITS and value.isascii() and value.isdigit()
    return int(value) if is_count else value


def _nullable(schema: Json) -> Json:
    """The schema that accepts null too."""
    if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
        schema = {**schema, "enum": [*schema["enum"], None]}
    if isinstance(schema.get("type"), str):
        return {**schema, "type": [schema["type"], "null"]}
    if isinstance(schema.get("anyOf"), list):
        return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
    return schema


_TRANSLATIONS: Mapping[str, Callable[[Any], Any]] = {
    "type": _type,
    "properties": _by_name,
    "$defs": _by_name,
    "definitions": _by_name,
    "patternProperties": _by_name,
    "items": _each,
    "prefixItems": _each,
    "anyOf": _each,
    "oneOf": _each,
    "allOf": _each,
    "not": json_schema,
    "additionalProperties": json_schema,
    **dict.fromkeys(_COUNTS, _count),
}
