"""Translates pieces of OpenAI's answers into Anthropic's: content blocks, stop reasons."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import uuid4

from service.conversations.client_ids import encoded
from service.conversations.gemini_signatures import signed_id
from service.domain.answer_ids import PREFIX
from service.domain.basics import Json
from service.domain.bounded_json import ANSWER, bounded_json

_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
# Of a choice, where vLLM, SGLang, proxies of Anthropic and llama.cpp name the stop sequence.
_SEQUENCE_FIELDS = ("stop_reason", "matched_stop", "stop_sequence", "stopping_word")


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """What the request says about the form of its answer.

    Args:
        shows_thinking: it enables thinking, so that its client expects blocks of thinking.
        stop_sequences: those of the request.
    """

    shows_thinking: bool = False
    stop_sequences: tuple[str, ...] = ()

    @classmethod
    def requested_by(cls, body: Json) -> AnswerForm:
        """The form that a Messages request wants."""
        thinking = body.get("thinking") or {}
        return cls(thinking.get("type") in ("enabled", "adaptive"), tuple(body.get("stop_sequences") or ()))


NO_EXTRAS = AnswerForm()


def frame(body: Json) -> Json:
    message_id = str(body.get("id") or uuid4().hex).removeprefix(PREFIX)
    if not message_id.startswith("msg_"):
        message_id = f"msg_{message_id}"
    return {"id": message_id, "type": "message", "role": "assistant", "model": body["model"]}


def tool_use(call: Json) -> Json:
    return tool_block(call) | {"input": _input(arguments(call))}


def tool_block(call: Json) -> Json:
    call_id = signed_id(call)
    use_id = encoded(call_id) if call_id else f"toolu_{uuid4().hex[:24]}"
    return {"type": "tool_use", "id": use_id, "name": str(_function(call).get("name") or ""), "input": {}}


def _function(call: Json) -> Json:
    function = call.get("function")
    return function if isinstance(function, dict) else {}


def arguments(call: Json) -> str:
    """The JSON arguments of a tool call, or a fragment of them."""
    return str(_function(call).get("arguments") or "")


def text_of(message: Json) -> str:
    """The text of a message or a delta, or its refusal."""
    text = message.get("content") or message.get("refusal")
    return text if isinstance(text, str) else ""


def _input(arguments: str) -> Json:
    """The arguments as an object. Invalid arguments are wrapped, so that the tool sees and rejects them."""
    try:
        value = bounded_json(arguments.encode() or b"{}", ANSWER)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"arguments": arguments}


def stop(choice: Json, form: AnswerForm, *, is_refusal: bool = False) -> tuple[str, str | None]:
    """Anthropic's stop reason and stop sequence; a finish reason that it has none for stays unchanged."""
    reason = choice.get("finish_reason")
    if is_refusal:
        return "refusal", None
    if reason == "stop" and (sequence := _named_sequence(choice, form)) is not None:
        return "stop_sequence", sequence
    return _STOP_REASONS.get(reason or "stop", reason or "end_turn"), None


def _named_sequence(choice: Json, form: AnswerForm) -> str | None:
    """The stop sequence that a server names; it may name a token or a reason in the same field."""
    named = [choice.get(name) for name in _SEQUENCE_FIELDS]
    return next((name for name in named if isinstance(name, str) and name in form.stop_sequences), None)
