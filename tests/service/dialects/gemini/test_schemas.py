from __future__ import annotations

import pytest

from service.dialects.gemini.schemas import json_schema
from service.domain.basics import Json


@pytest.mark.parametrize(
    ("schema", "translated"),
    [
        ({"type": "STRING", "format": "enum", "enum": ["a"]}, {"type": "string", "enum": ["a"]}),
        ({"type": "STRING", "format": "date-time"}, {"type": "string", "format": "date-time"}),
        ({"type": "TYPE_UNSPECIFIED"}, {}),
        ({"type": "INTEGER", "nullable": True}, {"type": ["integer", "null"]}),
        ({"type": "STRING", "nullable": False}, {"type": "string"}),
        (
            {"type": "STRING", "enum": ["a"], "nullable": True},
            {"type": ["string", "null"], "enum": ["a", None]},
        ),
        (
            {"any_of": [{"type": "STRING"}], "nullable": True},
            {"anyOf": [{"type": "string"}, {"type": "null"}]},
        ),
        (
            {"type": "ARRAY", "items": {"type": "NUMBER"}, "min_items": "1", "maxItems": 3},
            {"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": 3},
        ),
        (
            {"type": "OBJECT", "properties": {"type": {"type": "STRING"}}, "propertyOrdering": ["type"]},
            {"type": "object", "properties": {"type": {"type": "string"}}},
        ),
        (
            {"defs": {"A": {"type": "STRING"}}, "properties": {"a": {"ref": "#/$defs/A"}}},
            {"$defs": {"A": {"type": "string"}}, "properties": {"a": {"$ref": "#/$defs/A"}}},
        ),
        ({"type": ["STRING", "null"]}, {"type": ["string", "null"]}),
        (
            {"type": "object", "additionalProperties": False},
            {"type": "object", "additionalProperties": False},
        ),
        (
            {"type": "object", "additionalProperties": {"type": "STRING"}},
            {"type": "object", "additionalProperties": {"type": "string"}},
        ),
        ({"const": "STRING", "default": "OBJECT"}, {"const": "STRING", "default": "OBJECT"}),
        ({"properties": "odd", "items": None, "anyOf": 3}, {"properties": "odd", "items": None, "anyOf": 3}),
    ],
)
def test_googles_schemas_become_json_schemas(schema: Json, translated: Json) -> None:
    assert json_schema(schema) == translated
    assert json_schema(translated) == translated
