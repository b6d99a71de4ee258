"""The items of stored requests, as OpenAI lists them: complete, with ids, in pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from service.dialects.responses.client_tools import CALL_ITEMS
from service.domain.basics import Json
from service.errors import BadRequest

MAX_PAGE = 100
_PREFIXES = {"message": "msg", "reasoning": "rs"} | {name: kind.prefix for name, kind in CALL_ITEMS.items()}


def with_ids(items: Sequence[Json], stem: str) -> list[Json]:
    """The items, each with an id."""
    return [
        item if isinstance(item.get("id"), str) and item["id"] else {**item, "id": _id(item, stem, position)}
        for position, item in enumerate(items)
    ]


def page(items: Sequence[Json], *, order: Literal["asc", "desc"], limit: int, after: str | None) -> Json:
    """One page of a list.

    Raises:
        BadRequest: `after` is no item of the list.
    """
    ordered = list(items) if order == "asc" else list(reversed(items))
    start = 0
    if after is not None:
        start = next((n for n, item in enumerate(ordered, 1) if item.get("id") == after), -1)
        if start < 0:
            raise BadRequest(f"after: no item has the id {after!r}", param="after")
    shown = [_complete(item) for item in ordered[start : start + limit]]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": start + limit < len(ordered),
    }


def _id(item: Json, stem: str, position: int) -> str:
    return f"{_PREFIXES.get(item['type'], 'item')}_{stem}_in{position}"


def _complete(item: Json) -> Json:
    """The item with every field that OpenAI's clients expect."""
    if item["type"] != "message":
        return {"status": "completed", **item}
    text = {"type": "output_text", "annotations": [], "logprobs": []}
    kind: Json = text if item["role"] == "assistant" else {"type": "input_text"}
    content = item["content"]
    parts = [{**kind, "text": content}] if isinstance(content, str) else [_part(part) for part in content]
    return {"status": "completed", **item, "content": parts}


def _part(part: Json) -> Json:
    return {"detail": "auto", **part} if part.get("type") == "input_image" else part
