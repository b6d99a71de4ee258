"""Blocks that only Anthropic knows, as text for models of other vendors."""

from __future__ import annotations

from typing import Any

import orjson

from service.domain.basics import Json

_FILES = frozenset({"document", "image", "container_upload"})
_OPAQUE = frozenset(
    {"cache_control", "encrypted_content", "encrypted_index", "id", "signature", "tool_use_id"}
)
_MAX_DEPTH = 20


def is_of_server_tool(block: Json) -> bool:
    """Whether a block is a call of a tool that Anthropic runs, or its result."""
    kind = str(block["type"])
    return kind in ("server_tool_use", "mcp_tool_use") or (kind.endswith("_tool_result"))


def result_text(block: Json) -> str | None:
    """The text of a block in the result of a tool; None: it is a file."""
    if block["type"] == "tool_reference" and isinstance(name := block.get("tool_name"), str):
        return f"Tool: {name}"
    if (text := search_text(block)) is not None:
        return text
    return None if block["type"] in _FILES else as_text(block)


def search_text(block: Json) -> str | None:
    """The text of a search result whose citations nobody asked for; None: it is something else."""
    content = block.get("content")
    wants_citations = (block.get("citations") or {}).get("enabled")
    if block["type"] != "search_result" or not isinstance(content, list) or wants_citations:
        return None
    head = " ".join(str(block[name]) for name in ("title", "source") if block.get(name))
    texts = [str(inner.get("text") or "") for inner in content if isinstance(inner, dict)]
    return "\n".join([head, *texts] if head else texts)


def as_text(block: Json) -> str:
    """A block as JSON, without what only Anthropic can read."""
    return orjson.dumps(_readable(block, _MAX_DEPTH)).decode()


def _readable(value: Any, depth: int) -> Any:
    if depth == 0:
        return None
    if isinstance(value, list):
        return [_readable(item, depth - 1) for item in value]
    if isinstance(value, dict):
        return {name: _readable(item, depth - 1) for name, item in value.items() if name not in _OPAQUE}
    return value
