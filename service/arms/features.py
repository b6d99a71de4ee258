"""The features of a request that a model may be unable to serve, each under one name.

A feature is a field that changes the request (`seed`), one value of it (`reasoning_effort=xhigh`), a field
inside another (`messages.cache_control`), or a kind of content (`images`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from service.domain.basics import Json
from service.domain.query import Query
from service.domain.reasoning import effort_of

BETA_HEADER = "anthropic-beta"
_MAX_FEATURES = 500  # of one request: its client chooses the names
_MAX_DEPTH = 8
_VALUE = re.compile(r"[A-Za-z][\w.:/-]{0,59}")

# Every request has these, or the router sets them.
_NOT_FEATURES = frozenset({"model", "messages", "input", "prompt", "router"})
# These values ask for nothing.
_NEUTRAL: dict[str, tuple[object, ...]] = {
    "frequency_penalty": (0,),
    "modalities": (["text"],),
    "n": (1,),
    "presence_penalty": (0,),
    "reasoning_effort": ("none",),
    "temperature": (1,),
    "thinking": ({"type": "disabled"},),
    "tool_choice": ("auto", "none", {"type": "auto"}, {"type": "none"}),
    "top_logprobs": (0,),
    "top_p": (1,),
}
# The same feature under its names in other dialects.
_SAME = {
    "functions": "tools",
    "function_call": "tool_choice",
    "stop_sequences": "stop",
}
# Values of these fields are the client's own words.
_FREE = frozenset(
    {"conversation", "id", "instructions", "prompt_cache_key", "safety_identifier", "suffix", "user"}
)
# What stands in these fields is the client's content and not a part of the request's form.
_CONTENT = frozenset({"arguments", "input", "logit_bias", "metadata", "text", "thinking", "data", "url"})
_SCHEMAS = frozenset({"parameters", "input_schema", "schema"})
_NAMED_BY_CLIENT = frozenset({"properties", "$defs", "definitions", "patternProperties"})
# Every message and tool has these.
_FORM = frozenset({"content", "description", "function", "json_schema", "name", "role", "type"})
_NAMED_ALREADY = frozenset({"output_config.effort", "output_config.format", "reasoning.effort"})
_KINDS = {
    "image_url": "images",
    "image": "images",
    "input_image": "images",
    "input_audio": "audio",
    "audio": "audio",
    "file": "files",
    "document": "files",
    "input_file": "files",
    "video_url": "video",
    "video": "video",
}
_USUAL_KINDS = frozenset(
    {"custom", "function", "input_text", "output_text", "redacted_thinking", "refusal", "text", "thinking"}
    | {"tool_result", "tool_use", "ephemeral"}
)


def features_of(query: Query) -> frozenset[str]:
    """The features of the request, in the form of its dialect and in that of Chat Completions."""
    features = _of_body(query.body)
    if query.native is not None:
        features |= _of_body(query.native.body)
        betas = query.native.headers.get(BETA_HEADER, "").split(",")
        features |= {f"{BETA_HEADER}={beta.strip()}" for beta in betas if beta.strip()}
    return frozenset(sorted(features)[:_MAX_FEATURES])


def _of_body(body: Json) -> set[str]:
    features = set(_of_messages(body.get("messages")))
    for name, value in body.items():
        if name in _NOT_FEATURES:
            features |= set(_inside(name, value))
        elif not _is_neutral(name, value):
            features |= set(_of_field(_SAME.get(name, name), value))
            features |= set(_inside(_SAME.get(name, name), value))
    return features


def outer_features_of(query: Query) -> frozenset[str]:
    """The features that need no look inside fields, schemas and tools: cheap enough for every answer."""
    features: set[str] = set()
    for body in (query.body, *([] if query.native is None else [query.native.body])):
        features.update(_of_messages(body.get("messages")), _of_parts(body.get("messages")))
        for name, value in body.items():
            if name not in _NOT_FEATURES and not _is_neutral(name, value):
                features.update(_of_field(_SAME.get(name, name), value))
    return frozenset(sorted(features)[:_MAX_FEATURES])


def _is_neutral(name: str, value: Any) -> bool:
    is_zero = isinstance(value, int | float) and not isinstance(value, bool)  # which `temperature` may be
    return (not value and not is_zero) or any(value == neutral for neutral in _NEUTRAL.get(name, ()))


def _of_field(name: str, value: Any) -> Iterator[str]:
    yield name
    if isinstance(value, str):
        yield from _with_value(name, value)
    elif name == "thinking" and isinstance(value, dict):
        yield from _with_value(name, value.get("type"))
    elif name == "reasoning":
        yield from _of_effort(effort_of(value))
    elif name in ("response_format", "output_format"):
        yield from _of_format(value)
    elif name == "output_config" and isinstance(value, dict):
        yield from _of_format(value.get("format"))
        yield from _of_effort(value.get("effort"))
    elif name == "system":
        yield "system message"


def _with_value(name: str, value: object) -> Iterator[str]:
    if isinstance(value, str) and name not in _FREE and _VALUE.fullmatch(value):
        yield f"{name}={value}"


def _of_effort(effort: object) -> Iterator[str]:
    if effort not in (None, "none"):
        yield "reasoning_effort"
        yield from _with_value("reasoning_effort", effort)


def _of_format(form: object) -> Iterator[str]:
    if isinstance(form, dict) and form.get("type") in ("json_schema", "json_object"):
        yield str(form["type"])


def _of_messages(messages: object) -> Iterator[str]:
    """The features of the messages' order and roles."""
    roles = [m.get("role") for m in messages if isinstance(m, dict)] if isinstance(messages, list) else []
    has_begun = False
    for role in roles:
        if role not in ("system", "developer"):
            has_begun = True
            continue
        yield f"{role} message"
        if has_begun:
            yield "system message in mid-conversation"
    if roles and roles[-1] == "assistant":
        yield "prefilled answer"


def _of_parts(messages: object) -> Iterator[str]:
    """The kinds of content in the messages."""
    for message in messages if isinstance(messages, list) else []:
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else []:
            if isinstance(part, dict) and part.get("type") in _KINDS:
                yield _KINDS[part["type"]]


def _inside(top: str, value: Any, depth: int = _MAX_DEPTH) -> Iterator[str]:
    """The features inside a field: names of its own fields, kinds of its parts."""
    if depth == 0:
        return
    if isinstance(value, list):
        for item in value:
            yield from _inside(top, item, depth - 1)
    if not isinstance(value, dict):
        return
    kind = value.get("type")
    if isinstance(kind, str) and kind not in _USUAL_KINDS and top in ("messages", "tools", "system"):
        yield from [_KINDS[kind]] if kind in _KINDS else _with_value(f"{top}.type", kind)
    for name, inner in value.items():
        if name not in (kind, *_FORM) and not _is_neutral(name, inner):
            yield from {f"{top}.{name}"} - _NAMED_ALREADY
        if name in _SCHEMAS:
            yield from _of_schema(inner, depth - 1)
        elif name not in _CONTENT:
            yield from _inside(top, inner, depth - 1)


def _of_schema(schema: Any, depth: int) -> Iterator[str]:
    """The keywords of a JSON schema, without the names that the client gave its properties."""
    if depth == 0:
        return
    for item in schema if isinstance(schema, list) else []:
        yield from _of_schema(item, depth - 1)
    for keyword, inner in schema.items() if isinstance(schema, dict) else ():
        if keyword in _NAMED_BY_CLIENT and isinstance(inner, dict):
            for named in inner.values():
                yield from _of_schema(named, depth - 1)
        else:
            yield f"schema.{keyword}"
            yield from _of_schema(inner, depth - 1)
