"""Schemas of tools, and of structured output, in a form that a vendor accepts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from service.domain.basics import Json
from service.domain.strict_schemas import is_strict
from service.providers.message_forms import without

_CHOICES = ("anyOf", "oneOf", "allOf")
# Keywords that some servers do not know. Without them a schema only allows more.
RARE = frozenset(
    {"$anchor", "$comment", "$id", "$schema", "contains", "contentEncoding", "contentMediaType", "deprecated"}
    | {"dependentRequired", "dependentSchemas", "else", "examples", "exclusiveMaximum", "exclusiveMinimum"}
    | {"if", "maxContains", "minContains", "multipleOf", "not", "patternProperties", "propertyNames"}
    | {"readOnly", "then", "unevaluatedItems", "unevaluatedProperties", "writeOnly"}
)
_NAMED = ("properties", "$defs", "definitions")  # schemas by name
_LISTED = (*_CHOICES, "prefixItems")


def with_properties(body: Json) -> Json:
    """The body with `properties` in the schema of every tool: OpenAI demands them, Anthropic does not."""
    return _each_schema(_with_properties, body)


def without_choices(body: Json) -> Json:
    """The body with plain objects as arguments of tools: neither OpenAI nor Anthropic accepts a choice there.

    The object has the properties of all alternatives, and requires what all of them require.
    """
    return _each_schema(_without_choices, body)


def without_rare_keywords(body: Json) -> Json:
    """The body whose tools have schemas of common keywords only."""
    return _each_schema(_without_rare_keywords, body)


def strict_only_if_complete(body: Json) -> Json:
    """The body that is strict only about schemas that OpenAI's strict mode accepts."""
    form = body.get("response_format")
    schema = form.get("json_schema") if isinstance(form, dict) else None
    if isinstance(schema, dict) and schema.get("strict") and not is_strict(schema.get("schema")):
        body = {
            **body,
            "response_format": {**body["response_format"], "json_schema": {**schema, "strict": False}},
        }
    return _each_function(
        lambda f: without("strict", f) if f.get("strict") and not is_strict(f.get("parameters")) else f, body
    )


def _each_schema(change: Callable[[Json], Json], body: Json) -> Json:
    """The body with the change in the arguments of every tool; the same object if nothing changes."""

    def changed(function: Json) -> Json:
        schema = function.get("parameters")
        new = change(schema) if isinstance(schema, dict) else schema
        return function if new is schema else {**function, "parameters": new}

    return _each_function(changed, body)


def _each_function(change: Callable[[Json], Json], body: Json) -> Json:
    tools = body.get("tools")
    if not isinstance(tools, list):
        return body
    changed = [_changed(change, tool) for tool in tools]
    is_same = all(new is old for new, old in zip(changed, tools, strict=True))
    return body if is_same else {**body, "tools": changed}


def _changed(change: Callable[[Json], Json], tool: Any) -> Any:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict):
        return tool
    new = change(function)
    return tool if new is function else {**tool, "function": new}


def _with_properties(schema: Json) -> Json:
    if "properties" in schema or schema.get("type", "object") != "object":
        return schema
    if schema.keys() & {*_CHOICES, "$ref"}:
        return schema
    return {"type": "object", "properties": {}} | schema


def _without_choices(schema: Json) -> Json:
    choices = [name for name in _CHOICES if isinstance(schema.get(name), list)]
    if not choices:
        return schema
    rest = {name: value for name, value in schema.items() if name not in choices}
    properties, required = dict(_dict(rest.get("properties"))), set(_list(rest.get("required")))
    for name in choices:
        inner = [_without_choices(s) for s in schema[name] if isinstance(s, dict)]
        for alternative in inner:
            properties = {**_dict(alternative.get("properties")), **properties}
        demands = [set(_list(alternative.get("required"))) for alternative in inner]
        if demands:
            required |= set.union(*demands) if name == "allOf" else set.intersection(*demands)
    merged = {**rest, "type": "object", "properties": properties}
    return {**merged, "required": sorted(required)} if required else merged


def _without_rare_keywords(schema: Json) -> Json:
    """The schema without rare keywords, at any depth; the same object if it has none."""
    changed: Json = {}
    for name, value in schema.items():
        if name in RARE:
            continue
        if name == "const":
            changed["enum"] = [value]
        elif name in _NAMED and isinstance(value, dict):
            changed[name] = {key: _in_common_keywords(inner) for key, inner in value.items()}
        elif name in _LISTED and isinstance(value, list):
            changed[name] = [_in_common_keywords(inner) for inner in value]
        elif name in ("items", "additionalProperties"):
            changed[name] = _in_common_keywords(value)
        else:
            changed[name] = value
    return schema if changed == schema else changed


def _in_common_keywords(schema: Any) -> Any:
    return _without_rare_keywords(schema) if isinstance(schema, dict) else schema


def _dict(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
