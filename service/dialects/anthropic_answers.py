"""Writes answers in the Anthropic dialect: messages, errors, lists of models."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from service.conversations.unsigned_thinking import thinking_block
from service.dialects.anthropic_blocks import NO_EXTRAS, AnswerForm, frame, stop, text_of, tool_use
from service.domain.answer import Usage
from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.reasoning import reasoning_in
from service.domain.usage import reported_to_anthropic
from service.domain.usage_report import usage_from

_ERROR_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
OVERLOADED = 529  # Anthropic's status for 503
UNPAID = 402  # Anthropic's status for OpenAI's 429 `insufficient_quota`


def message(body: Json, form: AnswerForm = NO_EXTRAS) -> Json:
    """Translate an OpenAI `chat.completion` into a message."""
    choice = body["choices"][0]
    answer = choice["message"]
    thinking = reasoning_in(answer) if form.shows_thinking else ""
    text = text_of(answer)
    calls = [tool_use(call) for call in answer.get("tool_calls") or []]
    prose = [
        *([thinking_block(thinking)] if thinking else []),
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


def error(problem: tuple[int, Json], request_id: str | None) -> tuple[int, Json]:
    """Translate the status and envelope of an error from OpenAI's dialect."""
    fields = problem[1]["error"]
    status = error_status(problem[0], fields["code"])
    kind = _ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    body = {"type": "error", "error": {"type": kind, "message": fields["message"]}, "request_id": request_id}
    return status, body


def error_status(status: int, code: str | None) -> int:
    """Anthropic's status for OpenAI's status and code."""
    if code == "insufficient_quota":
        return UNPAID
    return OVERLOADED if status == 503 else status


def models(arms: Sequence[Arm], started_at: int) -> Json:
    """`auto` and every arm, on one page."""
    listed = [model("auto", None, started_at), *(model(arm.arm_id, arm, started_at) for arm in arms)]
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
