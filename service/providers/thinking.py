"""Thinking and effort of Claude's generations: one form of asking for it becomes another, or is left out."""

from __future__ import annotations

from typing import Any

from service.domain.basics import Json
from service.domain.reasoning import budget_of_effort, effort_of_budget

MIN_BUDGET = 1_024  # Anthropic's
_SHARE_OF_ANSWER = 3 / 4  # of `max_tokens`: the rest is for the answer after the thinking
_DEFAULT_EFFORT = "high"  # Anthropic's, where thinking is adaptive


def is_on(body: Json) -> bool:
    return kind(body) in ("enabled", "adaptive")


def is_forced(body: Json) -> bool:
    """Whether the request forces a call of a tool, in either dialect."""
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        return choice.get("type") in ("any", "tool", "function")
    return choice == "required"


def with_budget(body: Json) -> Json:
    """A Messages request whose adaptive thinking has a budget; one that leaves no room for it has none."""
    if kind(body) == "adaptive":
        effort = (body.get("output_config") or {}).get("effort")
        budget = budget_of_effort(effort if isinstance(effort, str) else _DEFAULT_EFFORT)
    elif kind(body) == "enabled" and _exceeds(body):
        budget = body["thinking"]["budget_tokens"]
    else:
        return body
    return _thinking_within(body, budget, _answer_tokens(body))


def with_fitting_budget(body: Json) -> Json:
    """A Messages request whose thinking leaves room for the answer."""
    return with_budget(body) if kind(body) == "enabled" else body


def adaptive(body: Json) -> Json:
    """A Messages request that states the effort of its thinking instead of a budget."""
    if kind(body) != "enabled":
        return body
    thinking = {"type": "adaptive", "display": body["thinking"].get("display", "summarized")}
    config = body.get("output_config") or {}
    budget = body["thinking"].get("budget_tokens")
    if "effort" not in config and isinstance(budget, int):
        config = {**config, "effort": effort_of_budget(budget)}
    return {**body, "thinking": thinking} | ({"output_config": config} if config else {})


def budget_for_effort(body: Json) -> Json:
    """A Chat Completions request with Claude's thinking in place of an effort."""
    effort = body.get("reasoning_effort")
    if not isinstance(effort, str):
        return body
    rest = {name: value for name, value in body.items() if name != "reasoning_effort"}
    if effort == "none":
        return rest
    return _thinking_within(rest, budget_of_effort(effort), _answer_tokens(body))


def without_thinking(body: Json) -> Json:
    """A Messages request without thinking, and without clearing it from the context."""
    if "thinking" not in body:
        return body
    rest = {name: value for name, value in body.items() if name not in ("thinking", "context_management")}
    edits = _edits(body.get("context_management"))
    return {**rest, "context_management": {**body["context_management"], "edits": edits}} if edits else rest


def _thinking_within(body: Json, budget: int, n_answer: int | None) -> Json:
    if n_answer is not None:
        budget = min(budget, int(n_answer * _SHARE_OF_ANSWER))
    if budget < MIN_BUDGET:
        return without_thinking(body)
    return {**body, "thinking": {"type": "enabled", "budget_tokens": budget}}


def kind(body: Json) -> object:
    thinking = body.get("thinking")
    return thinking.get("type") if isinstance(thinking, dict) else None


def _exceeds(body: Json) -> bool:
    budget, n_answer = body["thinking"].get("budget_tokens"), _answer_tokens(body)
    return isinstance(budget, int) and n_answer is not None and budget >= n_answer


def _answer_tokens(body: Json) -> int | None:
    """The limit of the answer and its thinking together; None: the model's own."""
    n_answer = body.get("max_completion_tokens") or body.get("max_tokens")
    return n_answer if isinstance(n_answer, int) else None


def _edits(management: Any) -> list[Any]:
    """The edits of the context that work without thinking."""
    edits = management.get("edits") if isinstance(management, dict) else None
    if not isinstance(edits, list):
        return []
    return [edit for edit in edits if not str(edit.get("type")).startswith("clear_thinking")]
