"""Writes streamed answers as Google's Gemini API does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from service.conversations.gemini_signatures import signed_id
from service.conversations.sealed_reasoning import Reasoning
from service.dialects import sse
from service.dialects.dialect import Problem
from service.dialects.gemini.answers import explained
from service.dialects.gemini.candidates import (
    call_parts,
    finish_reason,
    frame,
    image_parts,
    logprobs_result,
    text_of,
    text_part,
    thought_part,
)
from service.dialects.gemini.errors import error
from service.dialects.gemini.wrapped_schemas import Unwrapping, unwrapped
from service.domain.answer import Chunk, Usage
from service.domain.basics import Json
from service.domain.reasoning import reasoning_in
from service.domain.usage import reported_to_google
from service.domain.usage_report import usage_from


@dataclass(slots=True)
class _Candidate:
    """One candidate, as far as it has arrived."""

    reasoning: Reasoning = field(default_factory=Reasoning)
    calls: dict[int, _Call] = field(default_factory=dict)  # by OpenAI's index
    wrapped: list[str] = field(default_factory=list)  # pieces of a text that waits
    reason: object = None
    is_refusal: bool = False


@dataclass(slots=True)
class _Call:
    first: Json
    arguments: list[str]

    def whole(self) -> Json:
        function = {**_object(self.first.get("function")), "arguments": "".join(self.arguments)}
        return {**self.first, "id": signed_id(self.first), "function": function}


class ResponseEvents:
    """Writes one chunk for each piece of text; the last has all calls, the finish reasons and the usage.

    Args:
        explanation: the explanation of the decision; None: the client did not request it.
        shows_thoughts: the request asks for thoughts.
        unwrapping: how the answer is taken out of an object; such an answer waits until it is whole.
    """

    def __init__(
        self, explanation: Json | None, *, shows_thoughts: bool, unwrapping: Unwrapping | None = None
    ) -> None:
        self._explanation = explanation
        self._shows_thoughts = shows_thoughts
        self._unwrapping = unwrapping
        self._candidates: dict[int, _Candidate] = {}
        self._frame: Json = {}
        self._usage = Usage()

    def chunk(self, chunk: Chunk) -> bytes:
        self._frame = self._frame or frame(chunk.body)
        self._usage = usage_from(chunk.body.get("usage")) or self._usage
        written = [self._piece(choice) for choice in chunk.body.get("choices") or []]
        candidates = [candidate for candidate in written if candidate is not None]
        return self._event({"candidates": candidates}) if candidates else b""

    def totals(self, router: Json) -> bytes:
        return b""

    def end(self) -> bytes:
        candidates = [self._ended(index, candidate) for index, candidate in sorted(self._candidates.items())]
        return self._event({"candidates": candidates, "usageMetadata": reported_to_google(self._usage)})

    def failure(self, problem: Problem, request_id: str) -> bytes:
        return sse.event(error(problem, request_id)[1])

    def _event(self, fields: Json) -> bytes:
        explanation, self._explanation = self._explanation, None
        return sse.event(explained({**fields, **self._frame}, explanation))

    def _piece(self, choice: Json) -> Json | None:
        """What a choice's delta adds to its candidate; None: nothing that can be sent yet."""
        index = choice.get("index", 0)
        candidate = self._candidates.setdefault(index, _Candidate())
        candidate.reason = choice.get("finish_reason") or candidate.reason
        delta = _object(choice.get("delta"))
        thought = reasoning_in(delta)
        candidate.reasoning.add(thought, delta)
        candidate.is_refusal |= bool(delta.get("refusal"))
        for piece in delta.get("tool_calls") or []:
            _add(candidate.calls, piece)
        text = text_of(delta)
        if self._unwrapping is not None:
            candidate.wrapped.append(text)
            text = ""
        parts = [
            *([thought_part(thought)] if thought and self._shows_thoughts else []),
            *([text_part(text)] if text else []),
            *image_parts(delta),
        ]
        logprobs = logprobs_result(choice.get("logprobs"))
        if not parts and not logprobs:
            return None
        return {"content": {"role": "model", "parts": parts or [text_part("")]}, "index": index, **logprobs}

    def _ended(self, index: int, candidate: _Candidate) -> Json:
        """The last piece of a candidate."""
        text = unwrapped("".join(candidate.wrapped), self._unwrapping)
        calls = [call.whole() for _, call in sorted(candidate.calls.items())]
        parts = [*([text_part(text)] if text else []), *call_parts(calls, candidate.reasoning)]
        return {
            "content": {"role": "model", "parts": parts or [text_part("")]},
            "finishReason": finish_reason(candidate.reason, is_refusal=candidate.is_refusal),
            "index": index,
        }


def _add(calls: dict[int, _Call], piece: Json) -> None:
    """Add a piece of a call; the first has its id and its name."""
    call = calls.setdefault(piece["index"], _Call(piece, []))
    call.arguments.append(str(_object(piece.get("function")).get("arguments") or ""))
    if piece is not call.first and "extra_content" in piece:  # where Google's signature comes
        call.first = {**call.first, "extra_content": piece["extra_content"]}


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}
