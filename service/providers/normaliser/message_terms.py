"""Anthropic's messages and events in OpenAI's terms, for usage, log and learning."""

from __future__ import annotations

import orjson

from service.domain.basics import Json

_KNOWN_BLOCKS = frozenset({"text", "thinking", "redacted_thinking", "tool_use"})
_FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}


def delta_of(event: Json) -> Json:
    """The part of the answer in an event, as an OpenAI delta."""
    if event.get("type") == "content_block_start":
        block = _object(event.get("content_block"))
        if block.get("type") == "tool_use":
            return {"tool_calls": [_call(event.get("index"), block, "")]}
        if types := _other_block_types([block]):
            return {"blocks": types}
        return {"content": block["text"]} if block.get("text") else {}
    delta = _object(event.get("delta")) if event.get("type") == "content_block_delta" else {}
    match delta.get("type"):
        case "text_delta":
            return {"content": delta.get("text")}
        case "thinking_delta":
            return {"reasoning_content": delta.get("thinking")}
        case "input_json_delta" if delta.get("partial_json"):
            return {"tool_calls": [_call(event.get("index"), {}, delta["partial_json"])]}
    return {}


def _call(index: object, block: Json, arguments: str) -> Json:
    identity = {"id": block["id"], "type": "function"} if "id" in block else {}
    name = {"name": block["name"]} if "name" in block else {}
    return {"index": index, **identity, "function": {**name, "arguments": arguments}}


def completion_of(message: Json) -> Json:
    """The content of a whole message, as an OpenAI `chat.completion`."""
    blocks = [_object(block) for block in message["content"]]
    answer: Json = {"role": "assistant", "content": "".join(_strings(blocks, "text")) or None}
    calls = [
        _call(index, block, orjson.dumps(block.get("input")).decode())
        for index, block in enumerate(blocks)
        if block.get("type") == "tool_use"
    ]
    if calls:
        answer["tool_calls"] = calls
    if types := _other_block_types(blocks):
        answer["blocks"] = types
    finish_reason = finish_reason_of(message.get("stop_reason"))
    choices = [{"index": 0, "message": answer, "finish_reason": finish_reason}]
    return {"id": message.get("id"), "object": "chat.completion", "choices": choices}


def _other_block_types(blocks: list[Json]) -> list[str]:
    """The types of blocks without an OpenAI equivalent; such a block is an answer too."""
    return [kind for block in blocks if (kind := str(block.get("type"))) not in _KNOWN_BLOCKS]


def _strings(blocks: list[Json], name: str) -> list[str]:
    return [block[name] for block in blocks if isinstance(block.get(name), str)]


def finish_reason_of(stop_reason: object) -> str | None:
    """OpenAI's name of a stop reason; a stop reason without one stays unchanged."""
    return None if stop_reason is None else _FINISH_REASONS.get(str(stop_reason), str(stop_reason))


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}
