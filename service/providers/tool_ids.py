"""Ids of tool calls, for servers that limit their form."""

from __future__ import annotations

import hashlib
import re

from service.domain.basics import Json

_MISTRAL = re.compile(r"[A-Za-z0-9]{9}")


def with_nine_letters(messages: list[Json]) -> list[Json]:
    """The messages with ids that Mistral accepts: each other id is replaced, everywhere by the same one."""
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


def _nine_letters(call_id: object) -> object:
    if not isinstance(call_id, str):
        return call_id
    return call_id if _MISTRAL.fullmatch(call_id) else hashlib.sha256(call_id.encode()).hexdigest()[:9]
