"""A value that a JSON schema allows."""

from __future__ import annotations

import json
from typing import Any

from service.domain.basics import Json

STRING, INTEGER = "Paris", 2
DEPTH = 8  # of schemas that refer to themselves


def sample(schema: Any, root: Json | None = None, depth: int = 0) -> Any:
    root = schema if root is None else root
    if not isinstance(schema, dict) or depth > DEPTH:
        return STRING
    if "$ref" in schema:
        return sample(_referenced(schema["$ref"], root), root, depth + 1)
    if "const" in schema or schema.get("default") is not None:
        return schema.get("const", schema.get("default"))
    if schema.get("enum"):
        return schema["enum"][0]
    for alternatives in ("anyOf", "oneOf", "allOf"):
        if schema.get(alternatives):
            return sample(schema[alternatives][0], root, depth + 1)
    return _of_type(schema, root, depth)


def _of_type(schema: Json, root: Json, depth: int) -> Any:
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object" or "properties" in schema:
        properties = schema.get("properties", {})
        required = schema.get("required", list(properties))
        return {name: sample(properties[name], root, depth + 1) for name in properties if name in required}
    if kind == "array":
        return [sample(schema.get("items", {}), root, depth + 1)]
    return {"integer": INTEGER, "number": float(INTEGER), "boolean": True, "null": None}.get(
        kind or "", STRING
    )


def _referenced(reference: str, root: Json) -> Any:
    node: Any = root
    for part in reference.lstrip("#/").split("/"):
        node = node.get(part, {})
    return node


def schema_in(text: str) -> Json:
    """The first JSON schema of an object that a prompt contains."""
    start = text.find("{")
    while start >= 0:
        try:
            found: Any = json.JSONDecoder().raw_decode(text[start:])[0]
        except json.JSONDecodeError:
            found = None
        if isinstance(found, dict) and "properties" in found:
            return found
        start = text.find("{", start + 1)
    return {"type": "object", "properties": {"answer": {"type": "string"}}}
