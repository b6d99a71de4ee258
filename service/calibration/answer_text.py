"""What a grader reads of a model's answer."""

from __future__ import annotations

import orjson

from service.conversations.answer_names import text_of
from service.domain.answer import Answer
from service.domain.basics import Json


def first_message(answer: Answer) -> tuple[Json, str | None]:
    """The message of the first choice, and its finish reason."""
    choices = answer.body.get("choices") or [{}]
    return choices[0].get("message") or {}, choices[0].get("finish_reason")


def answer_text(message: Json) -> str:
    """The text of a message; of one that only calls tools, the calls as a JSON list of name and arguments."""
    text, calls = text_of(message), message.get("tool_calls")
    if text.strip() or not isinstance(calls, list) or not calls:
        return text
    functions = [call.get("function") or {} for call in calls if isinstance(call, dict)]
    return orjson.dumps([{"name": f.get("name"), "arguments": _arguments(f)} for f in functions]).decode()


def _arguments(function: Json) -> object:
    arguments = function.get("arguments")
    try:
        return orjson.loads(arguments) if isinstance(arguments, str) else arguments
    except orjson.JSONDecodeError:
        return arguments


def problem_with(message: Json, finish_reason: str | None, added_limit: int | None) -> str | None:
    """Why there is nothing to grade; None: there is an answer.

    Args:
        added_limit: the limit of tokens that the calibration added to the request; None: it added none.
    """
    if message.get("refusal") or finish_reason == "content_filter":
        return "refused to answer"
    if finish_reason == "length" and added_limit is not None:
        return f"cut off at {added_limit} tokens; raise --max-answer-tokens"
    return None
