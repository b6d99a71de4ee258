"""OpenAI's form: chat completions, whole and in chunks, embeddings, errors."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Iterator
from typing import Any

from service.domain.basics import Json
from tests.clients.upstream.refusals import Refusal
from tests.clients.upstream.script import ANY_TOOL, INPUT_TOKENS, OUTPUT_TOKENS, Asked, Reply, Turn

USAGE = {
    "prompt_tokens": INPUT_TOKENS,
    "completion_tokens": OUTPUT_TOKENS,
    "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
}
DONE = b"data: [DONE]\n\n"
FRAGMENT = 9  # characters of arguments in one chunk
ERROR_TYPES = {400: "invalid_request_error", 422: "invalid_request_error", 429: "rate_limit_error"}


def asked(body: Json) -> Asked:
    form = body.get("response_format") or {}
    choice = body.get("tool_choice")
    return Asked(
        turns=[Turn(_role(message["role"]), _text(message.get("content"))) for message in body["messages"]],
        tools={
            tool["function"]["name"]: tool["function"].get("parameters") or {}
            for tool in body.get("tools") or []
            if tool.get("type") == "function"
        },
        forced=choice["function"]["name"]
        if isinstance(choice, dict)
        else ANY_TOOL
        if choice == "required"
        else None,
        schema=form["json_schema"]["schema"] if form.get("type") == "json_schema" else None,
        json_mode=form.get("type") == "json_object",
    )


def _role(role: str) -> str:
    return {"developer": "system", "function": "tool"}.get(role, role)


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "\n".join(p.get("text", "") for p in content or [])


def whole(body: Json, reply: Reply, answer_id: str) -> Json:
    calls = [_call(reply, index, answer_id) for index in range(len(reply.calls))]
    message: Json = {"role": "assistant", "content": None if calls else reply.text, "refusal": None}
    if reply.thinking:
        message["reasoning_content"] = reply.thinking
    if calls:
        message["tool_calls"] = calls
    choices = [
        {"index": index, "message": message, "logprobs": None, "finish_reason": _finish_reason(reply)}
        for index in range(body.get("n") or 1)
    ]
    return {**_frame(body, "chat.completion", answer_id), "choices": choices, "usage": USAGE}


def events(body: Json, reply: Reply, answer_id: str) -> Iterator[bytes]:
    frame = _frame(body, "chat.completion.chunk", answer_id)

    def chunk(delta: Json, finish_reason: str | None = None) -> bytes:
        return _event({**frame, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})

    yield chunk({"role": "assistant", "content": None if reply.calls else ""})
    if reply.thinking:
        yield chunk({"reasoning_content": reply.thinking})
    for index, call in enumerate(reply.calls):
        start = _call(reply, index, answer_id)
        arguments = json.dumps(call.arguments)
        yield chunk(
            {"tool_calls": [{"index": index, **start, "function": {"name": call.name, "arguments": ""}}]}
        )
        for at in range(0, len(arguments), FRAGMENT):
            yield chunk(
                {"tool_calls": [{"index": index, "function": {"arguments": arguments[at : at + FRAGMENT]}}]}
            )
    for piece in reply.pieces[: 1 if reply.breaks_off else None]:
        yield chunk({"content": piece})
    if reply.breaks_off:
        return
    yield chunk({}, _finish_reason(reply))
    if (body.get("stream_options") or {}).get("include_usage") or body["model"].startswith("mistral-"):
        yield _event({**frame, "choices": [], "usage": USAGE})
    yield DONE


def embeddings(body: Json) -> Json:
    texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
    data = [
        {"object": "embedding", "index": index, "embedding": _embedding(body, text)}
        for index, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": INPUT_TOKENS, "total_tokens": INPUT_TOKENS}
    return {"object": "list", "data": data, "model": body["model"], "usage": usage}


def error(status: int, refusal: Refusal) -> Json:
    kind = ERROR_TYPES.get(status, "server_error")
    return {"error": {"message": refusal.message, "type": kind, "param": refusal.param, "code": refusal.code}}


def _embedding(body: Json, text: object) -> str | list[float]:
    digest = hashlib.sha256(json.dumps(text).encode()).digest()
    vector = [(byte - 128) / 128 for byte in digest]
    if body.get("encoding_format") == "base64":
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    return vector


def _call(reply: Reply, index: int, answer_id: str) -> Json:
    call = reply.calls[index]
    function = {"name": call.name, "arguments": json.dumps(call.arguments)}
    return {"id": f"call_{answer_id}_{index}", "type": "function", "function": function}


def _finish_reason(reply: Reply) -> str:
    return "tool_calls" if reply.calls else "length" if reply.cut else "stop"


def _frame(body: Json, kind: str, answer_id: str) -> Json:
    return {"id": f"chatcmpl-{answer_id}", "object": kind, "created": 1, "model": body["model"]}


def _event(chunk: Json) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"
