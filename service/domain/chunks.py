"""Splits a whole answer into chunks for a client that asked for a stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator

from service.domain.answer import Burst, Chunk, Usage
from service.domain.basics import Json


async def as_stream(body: Json) -> AsyncGenerator[Burst, None]:
    """The content of an OpenAI `chat.completion` as a stream that costs nothing."""
    *content, last = chunk_bodies(body)
    yield [*map(Chunk, content), Chunk(last, usage=Usage())]


def chunk_bodies(body: Json) -> Iterator[Json]:
    """The content of a `chat.completion` as `chat.completion.chunk` objects."""
    head = {name: value for name, value in body.items() if name not in ("choices", "usage")}
    head["object"] = "chat.completion.chunk"
    for position, choice in enumerate(body["choices"]):
        index = choice.get("index", position)
        yield {**head, "choices": [_choice(index, _delta(choice["message"]), None)]}
        yield {**head, "choices": [_choice(index, {}, choice.get("finish_reason"))]}
    yield {**head, "choices": [], "usage": body.get("usage")}


def _delta(message: Json) -> Json:
    """The whole message as one delta with numbered tool calls."""
    delta = {name: value for name, value in message.items() if value is not None}
    if isinstance(calls := delta.get("tool_calls"), list):
        delta["tool_calls"] = [{"index": i, **call} for i, call in enumerate(calls) if isinstance(call, dict)]
    return delta


def _choice(index: int, delta: Json, finish_reason: str | None) -> Json:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
