"""Answers validated against a client's schema."""

from __future__ import annotations

from typing import Any

import pytest

from service.completion.json_schema import MAX_STEPS, MAX_TEXT_CHARS, is_valid

NODE = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
    "$ref": "#/$defs/node",
}


@pytest.mark.parametrize(
    ("text", "schema", "valid"),
    [
        ("1", {}, True),
        ("", {}, False),
        ('{"a": 1}', {"additionalProperties": False}, False),
        ('{"next": {"next": {}}}', NODE, True),
        ('{"next": {"next": 1}}', NODE, False),
        ('"b"', {"enum": ["a", "c"]}, False),
    ],
)
def test_a_text_fits_a_schema_or_not(text: str, schema: dict[str, Any], valid: bool) -> None:
    assert is_valid(text, schema) is valid


def doubling(n: int) -> dict[str, Any]:
    """A schema that takes 2^n steps to check."""
    steps = {f"s{i}": {"allOf": [{"$ref": f"#/$defs/s{i + 1}"}] * 2} for i in range(n)}
    return {"$defs": {**steps, f"s{n}": {"type": "integer"}}, "$ref": "#/$defs/s0"}


@pytest.mark.parametrize(
    ("text", "schema"),
    [
        ('"' + "a" * 100 + '!"', {"pattern": "^(a+)+$"}),
        ('{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!": 1}', {"patternProperties": {"^(a+)+$": False}}),
        ("[" + "{}," * 1000 + "{}]", {"allOf": [{"items": {"type": "object"}}] * 1000}),
        ("1", doubling(100)),
        ("1", {"$ref": "#"}),
        ("1", {"$ref": "http://127.0.0.1:9/schema"}),
        ("1", {"type": 5}),
        ("1", {"type": "string", "allOf": [{"$schema": "http://json-schema.org/draft-03/schema#"}]}),
        ("1", {"type": "string", "description": "a" * 60_000}),
        (" " * MAX_TEXT_CHARS + "{", {}),
    ],
)
def test_what_cannot_be_checked_in_time_counts_as_valid(text: str, schema: dict[str, Any]) -> None:
    assert is_valid(text, schema)


def test_an_ordinary_list_is_within_the_bound() -> None:
    form = {"items": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}}
    items = MAX_STEPS // 50

    assert not is_valid("[" + '{"n": 1},' * items + '{"n": "1"}]', form)
