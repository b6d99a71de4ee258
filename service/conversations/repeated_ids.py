"""Ids of tool calls that occur twice in a history: Anthropic rejects them, other vendors write them."""

from __future__ import annotations

from collections import deque
from typing import Any

from service.domain.basics import Json


def with_unique_ids(messages: list[Json]) -> list[Json]:
    """The messages with a new id for each repeated one; the same objects where nothing changes.

    A result belongs to the newest call with its id; results of one id come in the order of their calls.
    """
    renaming = _Renaming()
    return [renaming.message(message) for message in messages]


class _Renaming:
    """The ids seen so far, and the new names of the newest calls of each id."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._n_calls: dict[str, int] = {}
        self._names: dict[str, deque[str]] = {}

    def message(self, message: Json) -> Json:
        """The message with renamed calls and results, in OpenAI's form or in Anthropic's."""
        is_answer = message.get("role") == "assistant"
        if is_answer:
            self._names.clear()
        changed = message
        for name in ("tool_calls", "content"):
            if is_answer and isinstance(calls := changed.get(name), list):
                changed = _replaced(changed, name, [self._call(call) for call in calls])
        if not is_answer and isinstance(blocks := changed.get("content"), list):
            changed = _replaced(changed, "content", [self._result(block, "tool_use_id") for block in blocks])
        renamed: Json = self._result(changed, "tool_call_id")
        return renamed

    def _call(self, call: Any) -> Any:
        call_id = call.get("id") if isinstance(call, dict) else None
        if not isinstance(call_id, str):
            return call
        name, n = call_id, self._n_calls.get(call_id, 1)
        while name in self._seen:
            n += 1
            name = f"{call_id}_{n}"
        self._n_calls[call_id] = n
        self._seen.add(name)
        self._names.setdefault(call_id, deque()).append(name)
        return call if name == call_id else {**call, "id": name}

    def _result(self, holder: Any, key: str) -> Any:
        names = self._names.get(str(holder.get(key))) if isinstance(holder, dict) else None
        if not names:
            return holder
        name = names.popleft() if len(names) > 1 else names[0]
        return holder if holder[key] == name else {**holder, key: name}


def _replaced(message: Json, name: str, items: list[Any]) -> Json:
    old = message[name]
    return message if all(a is b for a, b in zip(items, old, strict=True)) else {**message, name: items}
