"""Anthropic's form: messages, whole and as events, counts of tokens, errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from service.domain.basics import Json
from tests.clients.upstream.chat import FRAGMENT
from tests.clients.upstream.refusals import Refusal
from tests.clients.upstream.script import ANY_TOOL, INPUT_TOKENS, OUTPUT_TOKENS, Asked, Reply, Turn

USAGE = {
    "input_tokens": INPUT_TOKENS,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "output_tokens": OUTPUT_TOKENS,
}
ERROR_TYPES = {400: "invalid_request_error", 429: "rate_limit_error", 529: "overloaded_error"}
SIGNATURE = "c2lnbmVk"


def asked(body: Json) -> Asked:
    choice = body.get("tool_choice") or {}
    form = (body.get("output_config") or {}).get("format") or body.get("output_format") or {}
    return Asked(
        turns=list(_turns(body)),
        tools={
            tool["name"]: tool.get("input_schema") or {}
            for tool in body.get("tools") or []
            if tool.get("type") in (None, "custom")
        },
        forced={"tool": choice.get("name"), "any": ANY_TOOL}.get(choice.get("type", "")),
        schema=form.get("schema"),
    )


def _turns(body: Json) -> Iterator[Turn]:
    yield Turn("system", _text(body.get("system")))
    for message in body["messages"]:
        for block in message["content"] if isinstance(message["content"], list) else []:
            if block["type"] == "tool_result":
                yield Turn("tool", _text(block.get("content")))
        text = _text(message["content"])
        if text or message["role"] == "assistant":
            yield Turn(message["role"], text)


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(block["text"] for block in content or [] if block.get("type") == "text")


def whole(body: Json, reply: Reply, answer_id: str) -> Json:
    return {
        "id": f"msg_{answer_id}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": list(_blocks(body, reply, answer_id)),
        "stop_reason": "tool_use" if reply.calls else "max_tokens" if reply.cut else "end_turn",
        "stop_sequence": None,
        "usage": USAGE,
    }


def _blocks(body: Json, reply: Reply, answer_id: str) -> Iterator[Json]:
    if reply.thinking and (body.get("thinking") or {}).get("type") in ("enabled", "adaptive"):
        yield {"type": "thinking", "thinking": reply.thinking, "signature": SIGNATURE}
    if reply.text:
        yield {"type": "text", "text": reply.text}
    for index, call in enumerate(reply.calls):
        yield {
            "type": "tool_use",
            "id": f"toolu_{answer_id}_{index}",
            "name": call.name,
            "input": call.arguments,
        }


def events(body: Json, reply: Reply, answer_id: str) -> Iterator[bytes]:
    message = whole(body, reply, answer_id)
    start: Json = {"content": [], "stop_reason": None, "usage": {**USAGE, "output_tokens": 1}}
    yield _event("message_start", message={**message, **start})
    yield _event("ping")
    for index, block in enumerate(message["content"]):
        yield _event("content_block_start", index=index, content_block=_opened(block))
        for delta in _deltas(block, reply):
            yield _event("content_block_delta", index=index, delta=delta)
        if reply.breaks_off:
            return
        yield _event("content_block_stop", index=index)
    delta = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield _event("message_delta", delta=delta, usage=USAGE)
    yield _event("message_stop")


def _opened(block: Json) -> Json:
    """A block before its deltas."""
    empty = {"thinking": "", "signature": "", "text": "", "input": {}}
    return {name: empty.get(name, value) for name, value in block.items()}


def _deltas(block: Json, reply: Reply) -> Iterator[Json]:
    if block["type"] == "thinking":
        yield {"type": "thinking_delta", "thinking": block["thinking"]}
        yield {"type": "signature_delta", "signature": block["signature"]}
    elif block["type"] == "text":
        for piece in reply.pieces[: 1 if reply.breaks_off else None]:
            yield {"type": "text_delta", "text": piece}
    else:
        arguments = json.dumps(block["input"])
        for at in range(0, len(arguments), FRAGMENT):
            yield {"type": "input_json_delta", "partial_json": arguments[at : at + FRAGMENT]}


def tokens(body: Json) -> Json:
    return {"input_tokens": max(1, len(json.dumps(body)) // 4)}


def error(status: int, refusal: Refusal) -> Json:
    kind = ERROR_TYPES.get(status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": refusal.message}, "request_id": "req_1"}


def _event(kind: str, **more: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n".encode()
