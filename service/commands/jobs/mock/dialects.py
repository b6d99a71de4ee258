"""Canned answers in the wire formats of OpenAI and Anthropic, whole and as events."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from service.commands.jobs.mock.canned import CannedAnswer
from service.domain.basics import Json

CHARS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Reply:
    """A canned answer to one request.

    Args:
        number: of the request, which makes its ids.
    """

    canned: CannedAnswer
    model: str
    number: int
    n_prompt_chars: int

    @property
    def input_tokens(self) -> int:
        given = self.canned.usage.input_tokens
        return max(self.n_prompt_chars // CHARS_PER_TOKEN, 1) if given is None else given

    @property
    def output_tokens(self) -> int:
        given = self.canned.usage.output_tokens
        return max(len(self.canned.text) // CHARS_PER_TOKEN, 1) if given is None else given

    @property
    def words(self) -> list[str]:
        """The text in pieces as a stream sends them."""
        return re.findall(r"\S+\s*|\s+", self.canned.text) if self.canned.text.strip() else []

    def chat(self) -> Json:
        """A `chat.completion`."""
        message: Json = {"role": "assistant", "content": self.canned.text or None, "refusal": None}
        if self.canned.tool_calls:
            message["tool_calls"] = self._chat_calls()
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._finish}
        return {**self._chat_head("chat.completion"), "choices": [choice], "usage": self._chat_usage()}

    def chat_events(self, *, with_usage: bool) -> list[bytes]:
        """The events of a streamed `chat.completion`."""
        head = self._chat_head("chat.completion.chunk")
        deltas: list[Json] = [
            {"role": "assistant", "content": ""},
            *({"content": word} for word in self.words),
            *({"tool_calls": [{"index": i, **call}]} for i, call in enumerate(self._chat_calls())),
        ]
        choices: list[Json] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        choices.append({"index": 0, "delta": {}, "finish_reason": self._finish})
        chunks: list[Json] = [{**head, "choices": [choice]} for choice in choices]
        if with_usage:
            chunks.append({**head, "choices": [], "usage": self._chat_usage()})
        return [*(b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks), b"data: [DONE]\n\n"]

    def message(self) -> Json:
        """An Anthropic message."""
        return {
            **self._message_head(),
            "content": self._blocks(),
            "stop_reason": self._stop,
            "usage": {"input_tokens": self.input_tokens, "output_tokens": self.output_tokens},
        }

    def message_events(self) -> list[bytes]:
        """The events of a streamed message."""
        start = {**self._message_head(), "content": [], "stop_reason": None}
        start["usage"] = {"input_tokens": self.input_tokens, "output_tokens": 0}
        events: list[Json] = [{"type": "message_start", "message": start}]
        for i, block in enumerate(self._blocks()):
            events += self._block_events(i, block)
        delta = {"stop_reason": self._stop, "stop_sequence": None}
        events.append(
            {"type": "message_delta", "delta": delta, "usage": {"output_tokens": self.output_tokens}}
        )
        events.append({"type": "message_stop"})
        return [b"event: %b\ndata: %b\n\n" % (e["type"].encode(), json.dumps(e).encode()) for e in events]

    def _block_events(self, i: int, block: Json) -> list[Json]:
        if block["type"] == "text":
            empty: Json = {"type": "text", "text": ""}
            deltas: list[Json] = [{"type": "text_delta", "text": word} for word in self.words]
        else:
            empty = {**block, "input": {}}
            deltas = [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]
        return [
            {"type": "content_block_start", "index": i, "content_block": empty},
            *({"type": "content_block_delta", "index": i, "delta": delta} for delta in deltas),
            {"type": "content_block_stop", "index": i},
        ]

    @property
    def _finish(self) -> str:
        return "tool_calls" if self.canned.tool_calls else "stop"

    @property
    def _stop(self) -> str:
        return "tool_use" if self.canned.tool_calls else "end_turn"

    def _chat_head(self, kind: str) -> Json:
        return {"id": f"chatcmpl-mock-{self.number}", "object": kind, "created": 0, "model": self.model}

    def _message_head(self) -> Json:
        identity = {"id": f"msg_mock_{self.number}", "type": "message", "role": "assistant"}
        return {**identity, "model": self.model, "stop_sequence": None}

    def _chat_usage(self) -> Json:
        total = self.input_tokens + self.output_tokens
        return {
            "prompt_tokens": self.input_tokens,
            "completion_tokens": self.output_tokens,
            "total_tokens": total,
        }

    def _chat_calls(self) -> list[Json]:
        return [
            {
                "id": f"call_mock_{self.number}_{i}",
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
            }
            for i, call in enumerate(self.canned.tool_calls)
        ]

    def _blocks(self) -> list[Json]:
        text: list[Json] = [{"type": "text", "text": self.canned.text}] if self.canned.text else []
        calls: list[Json] = [
            {
                "type": "tool_use",
                "id": f"toolu_mock_{self.number}_{i}",
                "name": call.name,
                "input": call.arguments,
            }
            for i, call in enumerate(self.canned.tool_calls)
        ]
        return text + calls
