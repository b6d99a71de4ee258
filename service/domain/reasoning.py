"""Reasoning of models: where a message has it, and how much of it a request asks for."""

from __future__ import annotations

from typing import Any

from service.domain.basics import Json

FIELDS = ("reasoning_content", "reasoning")  # of a message in OpenAI's form; names differ by provider

EFFORTS = {
    "none": "none",
    "minimal": "minimal",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
_BUDGETS = ((4_096, "low"), (16_384, "medium"))  # largest thinking budget of an effort, tokens
_BUDGET_OF = {
    "minimal": 1_024,
    "low": 4_096,
    "medium": 16_384,
    "high": 24_576,
    "xhigh": 32_768,
    "max": 48_000,
}


def reasoning_in(message: Json) -> str:
    """The reasoning in a message or a delta in OpenAI's form."""
    for name in FIELDS:
        if isinstance(text := message.get(name), str) and text:
            return text
    return ""


def effort_of_budget(n_tokens: int) -> str:
    """OpenAI's effort for a budget of thinking tokens."""
    return next((effort for limit, effort in _BUDGETS if n_tokens <= limit), "high")


def budget_of_effort(effort: str) -> int:
    """A budget of thinking tokens for an effort of OpenAI or Anthropic; that of `high` for unknown ones."""
    return _BUDGET_OF.get(effort, _BUDGET_OF["high"])


def effort_of(reasoning: Any) -> str | None:
    """OpenAI's effort for OpenRouter's `reasoning` object; None: it sets none."""
    if not isinstance(reasoning, dict):
        return None
    effort, budget = reasoning.get("effort"), reasoning.get("max_tokens")
    if isinstance(effort, str) and effort in EFFORTS:
        return EFFORTS[effort]
    if isinstance(budget, int) and not isinstance(budget, bool):
        return effort_of_budget(budget)
    if reasoning.get("enabled") is False:
        return "none"
    return "medium" if reasoning.get("enabled") is True else None
