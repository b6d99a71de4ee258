"""An answer in OpenAI's wire format, whole or in chunks."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from uuid import uuid4

from service.domain.basics import Json

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """The answer of a recorded model."""

    model: str
    text: str
    prompt_tokens: int
    completion_tokens: int

    def whole(self) -> list[bytes]:
        """A `chat.completion` object, in two halves."""
        message = {"role": "assistant", "content": self.text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        head = self._head("chat.completion")
        body = json.dumps({**head, "choices": [choice], "usage": self._usage()}).encode()
        return [body[: len(body) // 2], body[len(body) // 2 :]]

    def chunks(self, *, include_usage: bool) -> list[bytes]:
        """Server-sent events: the role, the text word by word, the finish, the usage, [DONE]."""
        head = self._head("chat.completion.chunk")
        if include_usage:
            head["usage"] = None
        words = [word for word in re.split(r"(?<=\S)(?=\s)", self.text) if word.strip()]
        deltas: list[Json] = [{"role": "assistant", "content": ""}, *({"content": word} for word in words)]
        chunks = [{**head, "choices": [_choice(delta, None)]} for delta in deltas]
        chunks.append({**head, "choices": [_choice({}, "stop")]})
        if include_usage:
            chunks.append({**head, "choices": [], "usage": self._usage()})
        return [*(_event(chunk) for chunk in chunks), DONE]

    def _head(self, kind: str) -> Json:
        identity = {"id": f"chatcmpl-{uuid4().hex}", "created": int(time.time())}
        return {**identity, "object": kind, "model": self.model}

    def _usage(self) -> Json:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
        }


def _choice(delta: Json, finish_reason: str | None) -> Json:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _event(chunk: Json) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"
