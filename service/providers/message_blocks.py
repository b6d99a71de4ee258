"""Other forms of a Messages request of Anthropic's with the same meaning."""

from __future__ import annotations

from typing import Any

from service.domain.basics import Json
from service.providers.message_forms import without

MAX_CACHE_MARKS = 4  # of Anthropic
_N_FIRST_KEPT = 1  # the first mark ends what all conversations share, the last ones end this conversation's


def without_system_turns(body: Json) -> Json:
    """The body with its system turns as text: the leading ones in `system`, later ones in a user's turn."""
    turns = body["messages"]
    if not any(turn.get("role") == "system" for turn in turns):
        return body
    n_leading = next((i for i, turn in enumerate(turns) if turn.get("role") != "system"), len(turns))
    leading = [block for turn in turns[:n_leading] for block in _blocks(turn["content"])]
    changed = {**body, "messages": _merged(turns[n_leading:])}
    return {**changed, "system": [*_blocks(body.get("system")), *leading]} if leading else changed


def _merged(turns: list[Json]) -> list[Json]:
    """The turns with each system turn inside a user's turn beside it, with results of tools first."""
    merged: list[Json] = []
    pending: list[Json] = []  # blocks of system turns that follow the model's turn
    for turn in turns:
        if turn.get("role") == "system":
            if merged and merged[-1].get("role") == "user" and not pending:
                merged[-1] = {
                    **merged[-1],
                    "content": [*_blocks(merged[-1]["content"]), *_blocks(turn["content"])],
                }
            else:
                pending += _blocks(turn["content"])
        elif pending and turn.get("role") == "user":
            blocks = _blocks(turn["content"])
            results = [block for block in blocks if block.get("type") == "tool_result"]
            others = [block for block in blocks if block.get("type") != "tool_result"]
            merged.append({**turn, "content": [*results, *pending, *others]})
            pending = []
        else:
            merged += [{"role": "user", "content": pending}] if pending else []
            merged.append(turn)
            pending = []
    return merged + ([{"role": "user", "content": pending}] if pending else [])


def _blocks(content: Any) -> list[Json]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return list(content or [])


def with_one_sampler(body: Json) -> Json:
    """The body with a temperature or a `top_p` if it has both; Anthropic's default of both is 1."""
    temperature, top_p = body.get("temperature"), body.get("top_p")
    if temperature is None or top_p is None:
        return body
    return without("temperature" if temperature == 1 and top_p != 1 else "top_p", body)


def with_four_cache_marks(body: Json) -> Json:
    """The body with at most four cache marks, in either dialect: the first one and the last three."""
    marked = [holder for holder in _holders(body) if holder.get("cache_control") is not None]
    n_most = MAX_CACHE_MARKS - ("cache_control" in body)  # Anthropic sets one itself then
    if len(marked) <= n_most:
        return body
    kept = {id(holder) for holder in (*marked[:_N_FIRST_KEPT], *marked[_N_FIRST_KEPT - n_most :])}
    dropped = {id(holder) for holder in marked} - kept
    return {
        name: _unmarked(value, dropped) if name in ("tools", "system", "messages") else value
        for name, value in body.items()
    }


def _holders(body: Json) -> list[Json]:
    """Everything that may have a mark, in the order of the prompt."""
    holders: list[Json] = []
    for name in ("tools", "system", "messages"):
        pending = list(reversed(_listed(body.get(name))))
        while pending:
            holder = pending.pop()
            holders.append(holder)
            pending.extend(reversed(_listed(holder.get("content"))))
    return holders


def _unmarked(value: Any, dropped: set[int]) -> Any:
    if not isinstance(value, list):
        return value
    return [_unmarked_holder(item, dropped) for item in value]


def _unmarked_holder(holder: Any, dropped: set[int]) -> Any:
    if not isinstance(holder, dict):
        return holder
    bare = without("cache_control", holder) if id(holder) in dropped else holder
    if not isinstance(bare.get("content"), list):
        return bare
    return {**bare, "content": _unmarked(bare["content"], dropped)}


def _listed(value: Any) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
