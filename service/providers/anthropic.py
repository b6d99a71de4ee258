"""Calls Anthropic for clients that use its dialect: their body goes up and Anthropic's bytes come back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TypeGuard

import orjson

from service.domain.answer import Answer, Chunk
from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.ports import Clock
from service.domain.proxies import Proxies
from service.domain.query import Native
from service.domain.usage import settled, text_bytes
from service.domain.usage_report import merged, usage_from
from service.errors import ProviderBroken
from service.providers.http import HttpClient, Post, drain, parsed
from service.providers.keys import api_key
from service.providers.repairs import Repairs
from service.providers.thinking_repairs import NATIVE_REPAIRS

ANTHROPIC_BASE_URL = "https://api.anthropic.com"

_KNOWN_BLOCKS = frozenset({"text", "thinking", "redacted_thinking", "tool_use"})
_FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}


class AnthropicClient:
    """Anthropic's Messages API, for requests in Anthropic's dialect.

    The client changes only the name of the model. It reads the answer for usage and log.

    Args:
        secrets: where `api_key_env` and the proxies are looked up, usually the environment.
        clock: the current time, to read dates in `Retry-After`.
    """

    def __init__(self, secrets: Mapping[str, str], clock: Clock) -> None:
        self._secrets = secrets
        self._http = HttpClient(clock, Proxies.of(secrets))
        self._repairs = Repairs(NATIVE_REPAIRS)

    async def complete(self, arm: Arm, native: Native, *, timeout_s: float) -> Answer:
        call = partial(self._answer, arm, native)
        return await self._repairs.complete(arm, native.body, call, timeout_s=timeout_s)

    async def stream(self, arm: Arm, native: Native, *, timeout_s: float) -> AsyncGenerator[Chunk, None]:
        call = partial(self._answer_in_events, arm, native, timeout_s)
        async with aclosing(self._repairs.stream(arm, native.body, call)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _answer(self, arm: Arm, native: Native, body: Json, timeout_s: float) -> Answer:
        """The answer to the client's request with this body."""
        native = replace(native, body=body)
        post = self._post(arm, native, stream=False, timeout_s=timeout_s)
        message = parsed(await self._http.answer(post))
        if not isinstance(message, dict) or not isinstance(message.get("content"), list):
            raise self._http.refusal(post, message)
        usage = settled(usage_from(message.get("usage")), native.body, text_bytes(message["content"]))
        return Answer(_as_completion(message), usage, {**message, "model": arm.arm_id})

    async def _answer_in_events(
        self, arm: Arm, native: Native, timeout_s: float, body: Json
    ) -> AsyncGenerator[Chunk, None]:
        native = replace(native, body=body)
        post = self._post(arm, native, stream=True, timeout_s=timeout_s)
        watcher = _StreamWatcher(arm, native)
        async with aclosing(self._http.events(post)) as events:
            async for data in events:
                event = parsed(data)
                if not _is_event(event):
                    raise self._http.refusal(post, event)
                yield watcher.chunk(event, data)
                if watcher.is_whole:
                    await drain(events)
                    break
        watcher.end()

    async def close(self) -> None:
        await self._http.close()

    def _post(self, arm: Arm, native: Native, *, stream: bool, timeout_s: float) -> Post:
        key = api_key(arm, self._secrets)
        return Post(
            arm=arm,
            url=f"{(arm.base_url or ANTHROPIC_BASE_URL).rstrip('/')}/v1/messages",
            headers={**native.headers, **({} if key is None else {"x-api-key": key})},
            body={**native.body, "model": arm.model, "stream": stream},
            timeout_s=timeout_s,
            silence_s=arm.patience_s(stream=stream),
            secret=key,
        )


class _StreamWatcher:
    """Reads the events of one stream and describes them in OpenAI's terms."""

    def __init__(self, arm: Arm, native: Native) -> None:
        self._arm = arm
        self._native = native
        self._frame: Json = {"object": "chat.completion.chunk"}
        self._counts: Json = {}
        self._n_answer_bytes = 0
        self.is_whole = False

    def chunk(self, event: Json, data: bytes) -> Chunk:
        """The event unchanged, except for the arm's name."""
        kind = event.get("type")
        if kind == "message_start":
            message = _object(event.get("message"))
            self._frame["id"] = message.get("id")
            self._count(message)
            data = orjson.dumps({**event, "message": {**message, "model": self._arm.arm_id}})
        delta = _delta(event)
        self._n_answer_bytes += text_bytes(delta)
        finish_reason = None
        if kind == "message_delta":
            self._count(event)
            finish_reason = _finish_reason(_object(event.get("delta")).get("stop_reason"))
        choices = [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
        body = {**self._frame, "choices": choices if delta or finish_reason else []}
        usage = usage_from(self._counts) if "usage" in event or kind == "message_start" else None
        if kind == "message_stop":
            self.is_whole = True
            usage = settled(usage_from(self._counts), self._native.body, self._n_answer_bytes)
        return Chunk(body, usage, b"event: %s\ndata: %s\n\n" % (str(kind).encode(), data))

    def end(self) -> None:
        """Check that the stream is complete.

        Raises:
            ProviderBroken: the stream was cut off.
        """
        if not self.is_whole:
            raise ProviderBroken(f"{self._arm.model} stopped streaming before its answer was complete")

    def _count(self, event: Json) -> None:
        """Update the usage. Counts are cumulative; a count that a later event omits or nulls stands."""
        self._counts = merged(self._counts, _object(event.get("usage")), is_final=True)


def _is_event(value: object) -> TypeGuard[Json]:
    """Whether this is an event of an answer: neither an error nor a whole message."""
    kind = value.get("type") if isinstance(value, dict) else None
    return isinstance(kind, str) and kind not in ("error", "message")


def _delta(event: Json) -> Json:
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


def _as_completion(message: Json) -> Json:
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
    finish_reason = _finish_reason(message.get("stop_reason"))
    choices = [{"index": 0, "message": answer, "finish_reason": finish_reason}]
    return {"id": message.get("id"), "object": "chat.completion", "choices": choices}


def _other_block_types(blocks: list[Json]) -> list[str]:
    """The types of blocks without an OpenAI equivalent; such a block is an answer too."""
    return [kind for block in blocks if (kind := str(block.get("type"))) not in _KNOWN_BLOCKS]


def _strings(blocks: list[Json], name: str) -> list[str]:
    return [block[name] for block in blocks if isinstance(block.get(name), str)]


def _finish_reason(stop_reason: object) -> str | None:
    """OpenAI's name of a stop reason; a stop reason without one stays unchanged."""
    return None if stop_reason is None else _FINISH_REASONS.get(str(stop_reason), str(stop_reason))


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}
