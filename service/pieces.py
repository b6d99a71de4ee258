"""A whole answer sent piece by piece, for callers who asked for a stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from service.types import Chunk, Json, Usage


async def in_pieces(body: Json) -> AsyncGenerator[Chunk, None]:
    """The chunks that say what an OpenAI `chat.completion` says: role, content, finish, usage."""
    head = {name: body.get(name) for name in ("id", "created", "model", "system_fingerprint")}
    head["object"] = "chat.completion.chunk"
    for choice in body["choices"]:
        message = {name: value for name, value in choice["message"].items() if value is not None}
        if "tool_calls" in message:
            message["tool_calls"] = [{"index": i, **call} for i, call in enumerate(message["tool_calls"])]
        yield Chunk({**head, "choices": [_choice(choice, message, None)]})
        yield Chunk({**head, "choices": [_choice(choice, {}, choice.get("finish_reason"))]})
    yield Chunk({**head, "choices": [], "usage": body.get("usage")}, usage=Usage())


def _choice(choice: Json, delta: Json, finish_reason: str | None) -> Json:
    return {"index": choice["index"], "delta": delta, "logprobs": None, "finish_reason": finish_reason}
