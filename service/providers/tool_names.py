"""Names of tools in a form that every server accepts, and back in answers."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from service.domain.basics import Json

_ACCEPTED = re.compile(r"[A-Za-z0-9_-]{1,64}")  # by OpenAI
_NOT_ACCEPTED = re.compile(r"[^A-Za-z0-9_-]")
_N_KEPT = 55  # characters of a name; with a digest they are 64


def with_short_names(body: Json) -> Json:
    """The body with other names for tools whose names OpenAI rejects; the same object if there are none."""
    names = {name: _shortened(name) for name in _names(body) if not _ACCEPTED.fullmatch(name)}
    return _renamed(body, names) if names else body


def own_names(asked: Json, sent: Json) -> dict[str, str]:
    """The client's names of tools by those that the server got; only the ones that differ.

    Args:
        asked: the client's request.
        sent: the request that the server got, with the same tools in the same order.
    """
    if sent is asked:
        return {}
    return {new: old for new, old in zip(_names(sent), _names(asked), strict=False) if new != old}


def with_own_names(answer: Json, names: dict[str, str]) -> Json:
    """The answer, or the chunk, with the client's names of tools."""
    if not names:
        return answer
    return {**answer, "choices": [_with_own_names(choice, names) for choice in answer.get("choices") or []]}


def _with_own_names(choice: Json, names: dict[str, str]) -> Json:
    for part in ("message", "delta"):
        said = choice.get(part)
        if isinstance(said, dict) and isinstance(calls := said.get("tool_calls"), list):
            choice = {**choice, part: {**said, "tool_calls": [_renamed_holder(c, names) for c in calls]}}
    return choice


def _names(body: Json) -> list[str]:
    functions = [_function(tool) for tool in body.get("tools") or []]
    return [str(function["name"]) for function in functions if "name" in function]


def _function(holder: Any) -> Json:
    function = holder.get("function") if isinstance(holder, dict) else None
    return function if isinstance(function, dict) else {}


def _shortened(name: str) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{_NOT_ACCEPTED.sub('_', name)[:_N_KEPT]}_{digest}"


def _renamed(body: Json, names: dict[str, str]) -> Json:
    """The body with the new names in tools, in the choice of one, and in earlier calls."""
    changed = {**body, "tools": [_renamed_holder(tool, names) for tool in body["tools"]]}
    if isinstance(body.get("tool_choice"), dict):
        changed["tool_choice"] = _renamed_holder(body["tool_choice"], names)
    changed["messages"] = [_renamed_message(message, names) for message in body["messages"]]
    return changed


def _renamed_message(message: Json, names: dict[str, str]) -> Json:
    if message.get("role") == "tool" and (new := names.get(str(message.get("name")))) is not None:
        message = {**message, "name": new}
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return message
    return {**message, "tool_calls": [_renamed_holder(call, names) for call in calls]}


def _renamed_holder(holder: Any, names: dict[str, str]) -> Any:
    function = _function(holder)
    new = names.get(str(function.get("name")))
    return holder if new is None else {**holder, "function": {**function, "name": new}}
