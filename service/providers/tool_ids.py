"""Ids of tool calls, for servers that limit their form."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from service.domain.basics import Json

_MISTRAL = re.compile(r"[A-Za-z0-9]{9}")
_OF_FUNCTION = re.compile(r"functions\.[^:]{1,200}:\d{1,6}")


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


def with_ids_of_functions(messages: list[Json]) -> list[Json]:
    """The messages with ids that Kimi accepts: `functions.NAME:N`, where N counts the calls.

    A result belongs to the newest call with its id.
    """
    renamed: dict[str, str] = {}
    n_calls, changed = 0, []
    for message in messages:
        calls = message.get("tool_calls")
        named = []
        for call in calls if isinstance(calls, list) else []:
            new = _id_of_function(call, n_calls)
            n_calls += 1
            if isinstance(call, dict):
                renamed[str(call.get("id"))] = new
                call = {**call, "id": new}
            named.append(call)
        message = {**message, "tool_calls": named} if named else message
        new_id = renamed.get(str(message.get("tool_call_id")))
        changed.append(message if new_id is None else {**message, "tool_call_id": new_id})
    return changed


def _id_of_function(call: Any, n: int) -> str:
    holder = call if isinstance(call, dict) else {}
    call_id, function = holder.get("id"), holder.get("function")
    if isinstance(call_id, str) and _OF_FUNCTION.fullmatch(call_id):
        return call_id
    return f"functions.{function.get('name') if isinstance(function, dict) else 'none'}:{n}"
