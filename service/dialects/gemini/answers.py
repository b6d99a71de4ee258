"""Writes whole answers as Google's Gemini API does."""

from __future__ import annotations

from service.conversations.sealed_reasoning import Reasoning
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
from service.dialects.gemini.wrapped_schemas import Unwrapping, unwrapped
from service.domain.answer import Usage
from service.domain.basics import Json
from service.domain.reasoning import reasoning_in
from service.domain.usage import reported_to_google
from service.domain.usage_report import usage_from


def response(body: Json, *, shows_thoughts: bool, unwrapping: Unwrapping | None = None) -> Json:
    """Translate an OpenAI `chat.completion` into a GenerateContentResponse."""
    return {
        "candidates": [_candidate(choice, shows_thoughts, unwrapping) for choice in body["choices"]],
        "usageMetadata": reported_to_google(usage_from(body.get("usage")) or Usage()),
        **frame(body),
    }


def _candidate(choice: Json, shows_thoughts: bool, unwrapping: Unwrapping | None) -> Json:
    message = choice["message"]
    reasoning = Reasoning.whole(reasoning_in(message), message)
    parts = [
        *([thought_part(reasoning.text)] if reasoning.text and shows_thoughts else []),
        *([text_part(text)] if (text := unwrapped(text_of(message), unwrapping)) else []),
        *image_parts(message),
        *call_parts(message.get("tool_calls") or [], reasoning),
    ]
    return {
        "content": {"role": "model", "parts": parts or [text_part("")]},
        "finishReason": finish_reason(choice.get("finish_reason"), is_refusal=bool(message.get("refusal"))),
        "index": choice.get("index", 0),
        **logprobs_result(choice.get("logprobs")),
    }


def explained(body: Json, explanation: Json | None) -> Json:
    """The answer, with the explanation of the decision if the client requested it."""
    return body if explanation is None else {**body, "router": explanation}
