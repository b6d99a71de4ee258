"""Plays events and answers to the normaliser, and reads its chunks as OpenAI's own library does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from service.domain.answer import Answer, Chunk
from service.domain.arm import Arm
from service.domain.basics import Json
from service.errors import ProviderBroken
from service.providers.normaliser.asked import Asked
from service.providers.normaliser.stream import StreamNormaliser
from service.providers.normaliser.whole import normalised
from tests.service.providers.scripted import BODY

ARM = Arm("an-arm", "openai", "some-model")


def asked(*tools: str, **more: object) -> Asked:
    """A request with these tools."""
    body: Json = {**BODY, **more}
    if tools:
        body["tools"] = [{"type": "function", "function": {"name": name}} for name in tools]
    return Asked(ARM, body, lambda raw: ProviderBroken(f"no answer: {raw}"))


def streamed(*events: object, ask: Asked | None = None, done: bool = True) -> list[Chunk]:
    """The chunks for these events; bytes are sent unchanged, anything else as JSON."""
    normaliser = StreamNormaliser(ask or asked())
    chunks: list[Chunk] = []
    for event in (*events, *([b"[DONE]"] if done else [])):
        chunks += normaliser.event(event if isinstance(event, bytes) else orjson.dumps(event))
    return [*chunks, *normaliser.end()]


def whole(raw: object, ask: Asked | None = None) -> Answer:
    return normalised(ask or asked(), raw)


def chunk(delta: object = None, finish_reason: object = None, index: object = 0, **more: object) -> Json:
    """A chunk with one choice."""
    choice = {"index": index, "delta": {} if delta is None else delta, "finish_reason": finish_reason}
    return frame([choice], **more)


def frame(choices: object, **more: object) -> Json:
    return {
        "id": "c-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": choices,
    } | more


def message(content: object = None, finish_reason: object = "stop", **more: object) -> Json:
    """A whole answer with one choice."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": content, **more},
        "finish_reason": finish_reason,
    }
    return {"id": "c-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}


def read(chunks: Iterable[Chunk]) -> ChatCompletion:
    """What OpenAI's library makes of the chunks; it validates each of them.

    Raises:
        ValueError: a chunk is not as OpenAI sends it.
    """
    state: ChatCompletionStreamState[Any] = ChatCompletionStreamState()
    for each in chunks:
        body = orjson.loads(orjson.dumps({**each.body, "model": ARM.arm_id}))  # as clients get it
        state.handle_chunk(ChatCompletionChunk.model_validate(body, strict=True))
    return state.current_completion_snapshot


def calls_of(chunks: Iterable[Chunk]) -> list[tuple[str, str]]:
    """Name and arguments of each call of the first choice."""
    found = read(chunks).choices[0].message.tool_calls or []
    return [(call.function.name, call.function.arguments) for call in found]  # type: ignore[union-attr]


def deltas(chunks: Iterable[Chunk]) -> list[Json]:
    return [choice["delta"] for each in chunks for choice in each.body["choices"]]


def pieces(chunks: Iterable[Chunk]) -> list[Json]:
    return [piece for delta in deltas(chunks) for piece in delta.get("tool_calls", [])]
