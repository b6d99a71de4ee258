"""Turns thinking off in a tool loop that was begun without it: Claude then demands none or all of it.

A loop lacks thinking if another vendor's model began it, or if its client cannot bring thinking back.
"""

from __future__ import annotations

from service.domain.basics import Json
from service.providers.repairs import Repair
from service.providers.thinking import without_thinking

_WORDING = r"expected .{0,5}thinking|must start with a thinking block|thinking.{0,80}found .{0,5}tool_use"
_THINKING = frozenset({"thinking", "redacted_thinking"})


def _without_effort(body: Json) -> Json:
    """A Chat Completions request without an effort, or its thinking, if its loop lacks thinking."""
    turn = _last_turn(body)
    asked = body.keys() & {"reasoning_effort", "thinking"}
    if not asked or not turn.get("tool_calls") or turn.get("thinking_blocks"):
        return body
    return {name: value for name, value in body.items() if name not in asked}


def _without_thinking(body: Json) -> Json:
    """A Messages request without thinking, if its loop lacks thinking."""
    content = _last_turn(body).get("content")
    kinds = [block.get("type") for block in content] if isinstance(content, list) else []
    return body if "tool_use" not in kinds or kinds[0] in _THINKING else without_thinking(body)


def _last_turn(body: Json) -> Json:
    return next((m for m in reversed(body["messages"]) if m.get("role") == "assistant"), {})


_FORM = "a tool loop without its thinking"
THINKING_OFF = Repair(_FORM, _WORDING, _without_effort)
NATIVE_THINKING_OFF = Repair(_FORM, _WORDING, _without_thinking)
