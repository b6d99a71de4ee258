"""Ids of tool calls, for servers that limit them."""

from __future__ import annotations

import hashlib
import re

from service.domain.basics import Json

_MISTRAL = re.compile(r"[A-Za-z0-9]{9}")


def with_nine_letters(messages: list[Json]) -> list[Json]:
    """The messages with ids as Mistral takes them: others are replaced, by the same one throughout."""
    return [_with_nine_letters(message) for message in messages]


def _with_nine_letters(message: Json) -> Json:
    changed = dict(message)
    if "tool_call_id" in message:
        changed["tool_call_id"] = _nine_letters(message["tool_call_id"])
    if isinstance(calls := message.get("tool_calls"), list):
        changed["tool_calls"] = [
            {**call, "id": _nine_letters(call.get("id"))} if isinstance(call, dict) else call
            for call in calls
        ]
    return changed


def _nine_letters(given: object) -> object:
    if not isinstance(given, str):
        return given
    return given if _MISTRAL.fullmatch(given) else hashlib.sha256(given.encode()).hexdigest()[:9]
