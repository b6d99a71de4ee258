"""Writes streamed answers in the Anthropic dialect."""

from __future__ import annotations

from typing import Any

import orjson

from service.conversations.sealed_reasoning import Reasoning, has_blocks
from service.conversations.unsigned_thinking import signature_of
from service.dialects.dialect import Problem
from service.dialects.messages.answers import explained
from service.dialects.messages.blocks import (
    NO_EXTRAS,
    AnswerForm,
    arguments,
    frame,
    stop,
    text_of,
    tool_block,
)
from service.dialects.messages.errors import error
from service.domain.answer import Chunk, Usage
from service.domain.basics import Json
from service.domain.reasoning import reasoning_in
from service.domain.usage import reported_to_anthropic
from service.domain.usage_report import usage_from

PING = b'event: ping\ndata: {"type": "ping"}\n\n'
_PROSE = frozenset({"thinking", "text"})


def event(type: str, **fields: Any) -> bytes:
    """One server-sent event."""
    return b"event: %s\ndata: %s\n\n" % (type.encode(), orjson.dumps({"type": type, **fields}))


class MessageEvents:
    """Writes the events of one message from the chunks of an OpenAI stream.

    Only one block is open at a time, and a closed block cannot grow. Fragments of several tool calls can
    come mixed, so all calls but the first wait until the end.

    Args:
        n_prompt_tokens: an estimate for the first event; the exact count comes with the last.
        router: the explanation of the decision; None: the client did not request it.
        form: what the request says about the form of the answer.
    """

    def __init__(
        self, n_prompt_tokens: int, router: Json | None = None, form: AnswerForm = NO_EXTRAS
    ) -> None:
        self._n_prompt_tokens = n_prompt_tokens
        self._router = router
        self._form = form
        self._is_started = False
        self._n_blocks = 0
        self._open: str | int | None = None  # "thinking", "text", or a tool call's index
        self._waiting: dict[str | int, list[Json]] = {}
        self._reasoning = Reasoning()  # of the open block of thinking
        self._last: Json = {}  # the choice with the finish reason
        self._is_refusal = False
        self._usage = Usage()

    def take(self, chunk: Chunk) -> bytes:
        """The events of one chunk; often none."""
        events = [] if self._is_started else [self._start(chunk)]
        self._usage = usage_from(chunk.body.get("usage")) or self._usage
        for choice in chunk.body.get("choices") or []:
            if choice.get("finish_reason"):
                self._last = choice
            if isinstance(delta := choice.get("delta"), dict):
                events += self._delta(delta)
        return b"".join(events)

    def end(self) -> bytes:
        """The events that close the message."""
        events = self._close()
        for key, fragments in self._waiting.items():
            for fragment in fragments:
                events += self._write(key, fragment)
            events += self._close()
        stop_reason, stop_sequence = stop(self._last, self._form, is_refusal=self._is_refusal)
        delta = {"stop_reason": stop_reason, "stop_sequence": stop_sequence}
        events.append(event("message_delta", delta=delta, usage=reported_to_anthropic(self._usage)))
        return b"".join([*events, event("message_stop")])

    def _start(self, chunk: Chunk) -> bytes:
        self._is_started = True
        usage = reported_to_anthropic(Usage(prompt_tokens=self._n_prompt_tokens))
        started = {**frame(chunk.body), "content": [], "stop_reason": None, "stop_sequence": None}
        return event("message_start", message=explained({**started, "usage": usage}, self._router))

    def _delta(self, delta: Json) -> list[bytes]:
        events = []
        self._is_refusal |= bool(delta.get("refusal"))
        if self._form.shows_thinking:
            events += self._thinking(reasoning_in(delta), delta)
        if text := text_of(delta):
            events += self._fragment("text", {"text": text})
        for call in delta.get("tool_calls") or []:
            events += self._fragment(call["index"], call)
        return events

    def _thinking(self, text: str, delta: Json) -> list[bytes]:
        """The events of reasoning; what has no text waits rather than end another block."""
        if text or (has_blocks(delta) and self._open in (None, "thinking")):
            return self._fragment("thinking", {"text": text, "delta": delta})
        if has_blocks(delta):
            self._waiting.setdefault("thinking", []).append({"text": "", "delta": delta})
        return []

    def _fragment(self, key: str | int, fragment: Json) -> list[bytes]:
        """The events of a fragment of a block; none while another block is open."""
        closed: list[bytes] = []
        if self._open in _PROSE and key != self._open and not self._waiting:
            closed = self._close()  # another block ends thinking and text
        if self._open in (None, key):
            return closed + self._write(key, fragment)
        self._waiting.setdefault(key, []).append(fragment)
        return []

    def _write(self, key: str | int, fragment: Json) -> list[bytes]:
        """The events that add a fragment to the open block, or open it."""
        text = fragment["text"] if key in _PROSE else arguments(fragment)
        events = []
        if key == "thinking":
            self._reasoning.add(text, fragment["delta"])
        if self._open is None:
            self._open = key
            events.append(
                event("content_block_start", index=self._n_blocks, content_block=_block(key, fragment))
            )
        if text:
            events.append(event("content_block_delta", index=self._n_blocks, delta=_grown(key, text)))
        return events

    def _close(self) -> list[bytes]:
        """The events that end the open block; a block of thinking ends with its signature."""
        if self._open is None:
            return []
        index, is_thinking = self._n_blocks, self._open == "thinking"
        self._open = None
        self._n_blocks += 1
        ended = event("content_block_stop", index=index)
        if not is_thinking:
            return [ended]
        signature = {"type": "signature_delta", "signature": signature_of(self._reasoning)}
        self._reasoning = Reasoning()
        return [event("content_block_delta", index=index, delta=signature), ended]


def _block(key: str | int, fragment: Json) -> Json:
    """The empty block that a fragment opens."""
    if key == "thinking":
        return {"type": "thinking", "thinking": "", "signature": ""}
    if key == "text":
        return {"type": "text", "text": ""}
    return tool_block(fragment)


def _grown(key: str | int, text: str) -> Json:
    """The delta that adds text to a block."""
    if key == "thinking":
        return {"type": "thinking_delta", "thinking": text}
    if key == "text":
        return {"type": "text_delta", "text": text}
    return {"type": "input_json_delta", "partial_json": text}


class NativeOrWritten:
    """The events of one message: as the model sent them, or written from the chunks of an OpenAI stream.

    Args:
        written: writes the events of a model that does not speak this dialect.
    """

    def __init__(self, written: MessageEvents, explanation: Json | None) -> None:
        self._written = written
        self._explanation = explanation
        self._is_native = False

    def chunk(self, chunk: Chunk) -> bytes:
        if chunk.native is None:
            return self._written.take(chunk)
        self._is_native = True
        return explained_event(chunk.native, self._explanation)

    def totals(self, router: Json) -> bytes:
        return event("router", router=router)

    def end(self) -> bytes:
        return b"" if self._is_native else self._written.end()

    def failure(self, problem: Problem, request_id: str) -> bytes:
        return event(**error(problem, request_id)[1])


def explained_event(native: bytes, explanation: Json | None) -> bytes:
    """A native event; the first event of a message gets the explanation."""
    if explanation is None or not native.startswith(b"event: message_start\n"):
        return native
    data = orjson.loads(native.partition(b"data: ")[2])
    return event("message_start", message=explained(data["message"], explanation))
