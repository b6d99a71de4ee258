"""Other forms of a Chat Completions request with the same meaning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from service.domain.basics import Json
from service.domain.reasoning import FIELDS, effort_of, reasoning_in

Change: TypeAlias = Callable[[Json], Json]
REASONING_FIELDS = frozenset({*FIELDS, "reasoning_details", "thinking_blocks"})


def without(name: str, body: Json) -> Json:
    return {key: value for key, value in body.items() if key != name} if name in body else body


def renamed(old: str, new: str, body: Json) -> Json:
    return {new: body[old]} | without(old, body) if old in body and new not in body else without(old, body)


def each_message(change: Change, body: Json) -> Json:
    """The body with changed messages; the same object if none changes."""
    messages = [change(message) for message in body["messages"]]
    is_same = all(a is b for a, b in zip(messages, body["messages"], strict=True))
    return body if is_same else {**body, "messages": messages}


def as_system(message: Json) -> Json:
    return {**message, "role": "system"} if message.get("role") == "developer" else message


def with_one_string(message: Json) -> Json:
    """The message with its parts of text, or with no content, as one string."""
    content = message.get("content")
    if content is None and "content" in message:
        return {**message, "content": ""}
    if not isinstance(content, list) or not all(_is_text(part) for part in content):
        return message
    return {**message, "content": "\n\n".join(part["text"] for part in content)}


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)


def with_reasoning(message: Json) -> Json:
    """A turn that calls tools, with its reasoning where the server looks for it; empty if it is not known."""
    if not message.get("tool_calls") or isinstance(message.get("reasoning_content"), str):
        return message
    return {**message, "reasoning_content": reasoning_in(message)}


def with_one_reasoning(message: Json) -> Json:
    """The message without `reasoning_content` if it has the same under the other name."""
    return without("reasoning_content", message) if message.get("reasoning") else message


def without_reasoning(message: Json) -> Json:
    if REASONING_FIELDS.isdisjoint(message):
        return message
    return {name: value for name, value in message.items() if name not in REASONING_FIELDS}


def without_cache_marks(body: Json) -> Json:
    """The body without `cache_control` at messages, their parts and tools."""
    unmarked = each_message(_without_marks_in_parts, body)
    tools = body.get("tools")
    if not isinstance(tools, list) or not any(isinstance(t, dict) and "cache_control" in t for t in tools):
        return unmarked
    return {**unmarked, "tools": [without("cache_control", tool) for tool in tools]}


def _without_marks_in_parts(message: Json) -> Json:
    content = message.get("content")
    message = without("cache_control", message)
    if not isinstance(content, list) or not any("cache_control" in part for part in content):
        return message
    return {**message, "content": [without("cache_control", part) for part in content]}


def system_first(body: Json) -> Json:
    """The body with one system message at its start, and later ones as the user's, in their place."""
    body = with_one_system(body)
    messages = [
        {**message, "role": "user"} if i > 0 and _is_system(message) else message
        for i, message in enumerate(body["messages"])
    ]
    is_same = all(a is b for a, b in zip(messages, body["messages"], strict=True))
    return body if is_same else {**body, "messages": messages}


def with_one_system(body: Json) -> Json:
    """The body with the system messages at its start as one, if they are texts."""
    messages = body["messages"]
    n_leading = next((i for i, m in enumerate(messages) if not _is_system(m)), len(messages))
    if n_leading < 2:
        return body
    leading = [with_one_string(message) for message in messages[:n_leading]]
    if not all(isinstance(message.get("content"), str) for message in leading):
        return body
    joined = {**leading[0], "content": "\n\n".join(message["content"] for message in leading)}
    return {**body, "messages": [joined, *messages[n_leading:]]}


def _is_system(message: Json) -> bool:
    return message.get("role") in ("system", "developer")


def not_strict(body: Json) -> Json:
    """The body whose schemas are followed as well as the model can."""
    json_schema = (body.get("response_format") or {}).get("json_schema")
    changed = body
    if isinstance(json_schema, dict) and json_schema.get("strict"):
        loose = {**json_schema, "strict": False}
        changed = {**changed, "response_format": {**body["response_format"], "json_schema": loose}}
    tools = body.get("tools")
    if isinstance(tools, list) and any((tool.get("function") or {}).get("strict") for tool in tools):
        changed = {**changed, "tools": [_loose(tool) for tool in tools]}
    return changed


def _loose(tool: Json) -> Json:
    function = tool.get("function")
    if not isinstance(function, dict) or "strict" not in function:
        return tool
    return {**tool, "function": without("strict", function)}


def changing(change: Callable[[list[Json]], list[Json]], body: Json) -> Json:
    messages = change(body["messages"])
    return body if messages == body["messages"] else {**body, "messages": messages}


def with_effort(body: Json) -> Json:
    """The body with OpenAI's effort in place of OpenRouter's `reasoning`; the same object if it has none."""
    if "reasoning" not in body:
        return body
    rest = {name: value for name, value in body.items() if name != "reasoning"}
    effort = effort_of(body["reasoning"])
    return rest if effort is None or "reasoning_effort" in rest else {**rest, "reasoning_effort": effort}


JSON_IN_WORDS = "Answer with one JSON object and nothing else: no explanation and no Markdown."


def with_json_in_words(body: Json) -> Json:
    """The body that asks for JSON without a schema in its system prompt, not by `response_format`."""
    form = body.get("response_format")
    kind = form.get("type") if isinstance(form, dict) else None
    schema = ((form or {}).get("json_schema") or {}).get("schema") if kind == "json_schema" else None
    if kind not in ("json_object", "json_schema") or schema:
        return body
    messages = [*body["messages"]]
    n_leading = next((i for i, m in enumerate(messages) if not _is_system(m)), len(messages))
    messages.insert(n_leading, {"role": "system", "content": JSON_IN_WORDS})
    return {**without("response_format", body), "messages": messages}
