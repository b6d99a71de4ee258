"""How many tokens a prompt can have at most."""

from __future__ import annotations

import json
from collections.abc import Iterator

from service.domain.basics import Json

# Of one image: gpt-4o-mini bills up to 48,169, most others below 5,000.
IMAGE_TOKENS = 50_000

_IMAGES = frozenset({"image", "image_url"})
# What providers read of these parts is no longer than what is sent. A few bytes can name a long file.
_TEXTS = frozenset(
    {"text", "refusal", "thinking", "redacted_thinking", "tool_use", "tool_result", "tool_reference"}
    | {"search_result", "server_tool_use", "tool_search_tool_result", "web_search_tool_result"}
)
# Others are run by the provider, which reads what they find.
_CLIENTS_TOOLS = ("function", "custom", "bash_", "computer_", "memory_", "text_editor_", "tool_search_tool")
_READS_MORE = ("container", "mcp_servers", "plugins", "web_search_options")


def longest_prompt(body: Json) -> int | None:
    """The most tokens of a request in OpenAI's or Anthropic's form: its bytes, and IMAGE_TOKENS per image.

    None: nobody knows it, since the provider may read more than that: files, audio, what its tools find.
    """
    reads_more = any(body.get(name) not in (None, []) for name in _READS_MORE)
    if reads_more or not all(map(_is_clients, body.get("tools") or ())):
        return None
    n_tokens = _n_bytes({name: value for name, value in body.items() if name != "messages"})
    for message in body["messages"]:
        if message.get("audio"):
            return None
        content = message.get("content")
        if not isinstance(content, list):
            n_tokens += _n_bytes(message)
            continue
        n_tokens += _n_bytes({**message, "content": None})
        for part in _parts(content):
            if part.get("type") in _IMAGES:
                n_tokens += IMAGE_TOKENS
            elif part.get("type") in _TEXTS:
                n_tokens += _n_bytes(part)
            else:
                return None
    return n_tokens


def _is_clients(tool: Json) -> bool:
    return str(tool.get("type") or "custom").startswith(_CLIENTS_TOOLS)


def _parts(content: list[Json]) -> Iterator[Json]:
    """The parts of a message, and those in the results of tools."""
    for part in content:
        inner = part.get("content")
        if part.get("type") == "tool_result" and isinstance(inner, list):
            yield {**part, "content": None}
            yield from _parts(inner)
        else:
            yield part


def _n_bytes(value: Json) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
