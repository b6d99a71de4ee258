"""Finish reasons: the many names that providers have, as OpenAI's five."""

from __future__ import annotations

from service.domain.basics import Json

FINISH_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})

_UNFINISHED = frozenset({"", "null", "none", "unspecified", "finish_reason_unspecified", "in_progress"})
_STOPPED = frozenset(
    {"complete", "completed", "done", "end", "end_turn", "eos", "eos_token", "finish", "finished", "normal"}
    | {"stop_sequence", "stop_token", "stopped", "success"}
)
# The words inside a name decide, the first one that matches: vendors spell their names in many ways.
_WORDS = (
    ("content_filter", ("filter", "safety", "toxic", "refus", "sensitive", "blocklist", "prohibited")),
    ("content_filter", ("recitation", "spii", "guardrail", "moderation", "policy", "violation")),
    ("error", ("error", "fail", "abort", "cancel", "malformed", "insufficient", "overload", "timeout")),
    ("error", ("interrupt", "disconnect", "rate_limit", "unexpected")),
    ("length", ("length", "max", "limit", "window", "truncat", "incomplete")),
    ("tool_calls", ("tool", "function")),
)
_CALLS = ("tool_calls", "function_call")
_NUMBERS = {1: "stop", 2: "length", 3: "content_filter"}  # Gemini's enumeration


def finish_reason(value: object) -> str | None:
    """OpenAI's name of a finish reason.

    Returns:
        None if the choice has not finished; `error` if the provider says that it broke off; `unknown` if the
        choice has ended for a reason that no rule knows.
    """
    if isinstance(value, str) and value in FINISH_REASONS:
        return value
    if isinstance(value, dict):
        value = value.get("type") or value.get("reason")
    if isinstance(value, bool) or value is None:
        return "stop" if value else None
    if isinstance(value, int | float):
        return _NUMBERS.get(int(value), "unknown") if value else None
    return _by_name(value) if isinstance(value, str) else "unknown"


def _by_name(value: str) -> str | None:
    name = value.strip().lower().replace("-", "_")
    if name in FINISH_REASONS:
        return name
    if name in _UNFINISHED:
        return None
    if name in _STOPPED:
        return "stop"
    found = (reason for reason, words in _WORDS if any(word in name for word in words))
    return next(found, "unknown")


def with_calls(reason: str, message: Json) -> str:
    """The finish reason of a choice that has ended, which says truly whether the choice calls tools.

    Args:
        message: only whether it has `tool_calls` or a `function_call` matters.
    """
    if reason in ("length", "content_filter"):
        return reason
    return next((name for name in _CALLS if message.get(name)), "stop")
