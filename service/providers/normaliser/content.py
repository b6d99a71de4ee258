"""What a message or a delta says: text as one string, thoughts apart from it, all else in named fields."""

from __future__ import annotations

from typing import Any

import orjson

from service.domain.basics import Json

TEXTS = frozenset({"content", "refusal", "reasoning_content"})
CALLS = ("tool_calls", "function_call")
_SOUND = TEXTS | {"role"}
# Where else providers put thoughts, the best place first. OpenRouter's clients read `reasoning`, so it stays.
_THOUGHTS = ("reasoning", "thinking", "reasoning_details", "thinking_blocks")
_TEXT_NAMES = ("text", "thinking", "reasoning", "summary", "content", "refusal", "value")
_TEXT_TYPES = frozenset({"text", "output_text", "input_text", ""})
_CALL_TYPES = frozenset({"tool_use", "tool_call", "function_call"})


def is_sound(message: Json) -> bool:
    """Whether the message has nothing but text, in the right form; most deltas of a stream do."""
    for name, value in message.items():
        if name not in _SOUND or not (value is None or type(value) is str):
            return False
    return message.get("role") in ("assistant", None)


def tidied(message: Json) -> Json:
    """The message with `content`, `refusal` and `reasoning_content` as strings or null.

    Content in parts is taken apart: text into `content`, thoughts into `reasoning_content`, calls of tools
    into `tool_calls`, images into `images`, and anything else into `parts`.
    """
    if is_sound(message):
        return message
    tidy = dict(message)
    if tidy.get("role") not in ("assistant", None):
        tidy["role"] = "assistant"
    content = tidy.get("content")
    if isinstance(content, dict) and _is_part(content):
        content = [content]
    if isinstance(content, list):
        tidy |= {"content": None} | _taken_apart(content, tidy)
    elif content is not None and not isinstance(content, str):  # JSON output that is not in a string
        tidy["content"] = orjson.dumps(content).decode()
    if tidy.get("refusal") is not None and not isinstance(tidy["refusal"], str):
        tidy["refusal"] = _text(tidy["refusal"]) or None
    if not isinstance(tidy.get("reasoning_content"), str) or not tidy["reasoning_content"]:
        thoughts = (_text(tidy.get(name)) for name in ("reasoning_content", *_THOUGHTS))
        if found := next(filter(None, thoughts), ""):
            tidy["reasoning_content"] = found
        elif tidy.get("reasoning_content") not in (None, ""):
            tidy["reasoning_content"] = None
    return tidy


def _is_part(content: Json) -> bool:
    return isinstance(content.get("type"), str) or isinstance(content.get("text"), str)


def _taken_apart(parts: list[Any], message: Json) -> Json:
    """The fields for the parts of a content, in addition to those that the message has already."""
    found: dict[str, list[Any]] = {}
    for part in parts:
        field, value = _sorted_out(part)
        found.setdefault(field, []).append(value)
    fields: Json = {}
    for field, values in found.items():
        known = message.get(field) if field != "content" else None
        if field in TEXTS:
            fields[field] = (known if isinstance(known, str) else "") + "".join(values)
        else:
            fields[field] = [*(known if isinstance(known, list) else []), *values]
    return fields


def _sorted_out(part: object) -> tuple[str, Any]:
    """The field of a message that a part belongs to, and its value there."""
    if isinstance(part, str | list):
        return "content", _text(part)
    if not isinstance(part, dict):
        return "parts", part
    kind = str(part.get("type") or "").lower()
    if kind in _CALL_TYPES:
        return "tool_calls", _call(part)
    if "image" in kind:
        return "images", part
    if text := _text(part):
        if part.get("thought") is True or kind.startswith(("thinking", "reasoning", "thought")):
            return "reasoning_content", text
        if kind == "refusal":
            return "refusal", text
        if kind in _TEXT_TYPES:
            return "content", text
    return ("content", "") if kind in _TEXT_TYPES and "text" in part else ("parts", part)


def _call(part: Json) -> Json:
    """A tool call of a part, as one of OpenAI's."""
    if isinstance(part.get("function"), dict):
        return part
    arguments = part.get("input", part.get("arguments"))
    return {"id": part.get("id"), "function": {"name": part.get("name"), "arguments": arguments}}


def _text(value: object) -> str:
    """The text in a string, in a part, or in a list of them."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(map(_text, value))
    if isinstance(value, dict):
        return next(filter(None, (_text(value.get(name)) for name in _TEXT_NAMES)), "")
    return ""


def said(message: Json) -> list[object]:
    """What of a tidy message counts as its tokens."""
    return [message.get(name) for name in ("content", "refusal", "reasoning_content", *CALLS)]
