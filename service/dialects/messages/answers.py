"""Writes answers in the Anthropic dialect: messages, lists of models."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from service.conversations.sealed_reasoning import has_blocks
from service.conversations.unsigned_thinking import thinking_block
from service.dialects.messages.blocks import NO_EXTRAS, AnswerForm, frame, stop, text_of, tool_use
from service.domain.answer import Usage
from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.reasoning import reasoning_in
from service.domain.usage import reported_to_anthropic
from service.domain.usage_report import usage_from


def message(body: Json, form: AnswerForm = NO_EXTRAS) -> Json:
    """Translate an OpenAI `chat.completion` into a message."""
    choice = body["choices"][0]
    answer = choice["message"]
    thinking, text = reasoning_in(answer), text_of(answer)
    is_shown = form.shows_thinking and (thinking or has_blocks(answer))
    calls = [tool_use(call) for call in answer.get("tool_calls") or []]
    prose = [
        *([thinking_block(thinking, answer)] if is_shown else []),
        *([{"type": "text", "text": text}] if text else []),
    ]
    stop_reason, stop_sequence = stop(choice, form, is_refusal=bool(answer.get("refusal")))
    return {
        **frame(body),
        "content": [*prose, *calls],
        "stop_reason": stop_reason,
        "stop_sequence": stop_sequence,
        "usage": reported_to_anthropic(usage_from(body.get("usage")) or Usage()),
    }


def explained(body: Json, explanation: Json | None) -> Json:
    """The message, with the explanation of the decision if the client requested it."""
    return body if explanation is None else {**body, "router": explanation}


def models(named: Sequence[tuple[str, Arm | None]], started_at: int) -> Json:
    """Every name, with its arm if it is one's id, on one page."""
    listed = [model(name, arm, started_at) for name, arm in named]
    return {
        "data": listed,
        "has_more": False,
        "first_id": listed[0]["id"],
        "last_id": listed[-1]["id"],
    }


def model(name: str, arm: Arm | None, started_at: int) -> Json:
    return {
        "type": "model",
        "id": name,
        "display_name": name,
        "created_at": datetime.fromtimestamp(started_at, UTC).isoformat(),
        "lifecycle": "active",
        "max_input_tokens": None if arm is None else arm.context_window,
    }
