"""Reads what providers report of a call's tokens; docs/usage.md has every shape.

A count may have several names, and a name may stand beside another with a zero: the first one that is not
zero is believed. Whether tokens of the cache and of thinking are part of a count or stand beside it differs
by provider; the names say so, or the total does.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from service.domain.answer import Usage
from service.domain.basics import Json
from service.domain.stated_cost import stated_cost_usd

MAX_TOKENS = 2**31 - 1  # more is a provider's mistake, and exceeds the journal's integers

_PROMPT_WITH_CACHE = ("prompt_tokens", "promptTokenCount", "prompt_token_count", "prompt_eval_count")
_PROMPT = ("input_tokens", "inputTokens", "tokens.input_tokens", "billed_units.input_tokens")
_TOOL_RESULTS = ("toolUsePromptTokenCount", "tool_use_prompt_token_count")  # beside the prompt
_COMPLETION = (
    "completion_tokens",
    "output_tokens",
    "candidatesTokenCount",
    "candidates_token_count",
    "outputTokens",
    "eval_count",
    "tokens.output_tokens",
    "billed_units.output_tokens",
)
_TOTAL = ("total_tokens", "totalTokenCount", "total_token_count", "totalTokens")
_READ_WITHIN_PROMPT = (
    "prompt_tokens_details.cached_tokens",
    "input_tokens_details.cached_tokens",
    "prompt_tokens_details.cache_read_tokens",
    "prompt_tokens_details.cache_read_input_tokens",
    "cached_tokens",
    "prompt_cache_hit_tokens",
    "cachedContentTokenCount",
    "cached_content_token_count",
    "num_cached_tokens",
)
_READ = ("cache_read_input_tokens", "cacheReadInputTokens", "cache_read_tokens")
_WRITTEN_WITHIN_PROMPT = (
    "prompt_tokens_details.cache_write_tokens",
    "prompt_tokens_details.cache_creation_tokens",
    "prompt_tokens_details.cache_creation_input_tokens",
    "input_tokens_details.cache_write_tokens",
)
_WRITTEN = ("cache_creation_input_tokens", "cacheWriteInputTokens", "cache_write_tokens")
_REASONING = (
    "completion_tokens_details.reasoning_tokens",
    "output_tokens_details.reasoning_tokens",
    "reasoning_tokens",
)
_REASONING_BESIDE_COMPLETION = ("thoughtsTokenCount", "thoughts_token_count")
_OPENAIS_COUNTS = {"prompt_tokens", "completion_tokens", "total_tokens"}
_OPENAIS_DETAILS = {
    "prompt_tokens_details": {"cached_tokens", "audio_tokens"},
    "completion_tokens_details": {
        *("reasoning_tokens", "audio_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens"),
    },
}
_BARE = ("prompt_eval_count", "eval_count")  # Ollama: beside the answer, in no object


def usage_from(report: object) -> Usage | None:
    """Read a provider's usage object; None if it counts no token."""
    if not isinstance(report, Mapping):
        return None
    if (usage := in_openais_form(report)) is not None:
        return usage
    total = _first(report, _TOTAL)
    beside = _first(report, _REASONING_BESIDE_COMPLETION)
    reasoning = beside or _first(report, _REASONING)
    completion = _first(report, _COMPLETION) + beside
    prompt, read, written = _prompt(report, total - completion)
    if not prompt and not completion:
        return None
    missing = max(0, total - prompt - completion)
    if not prompt:
        prompt = missing
    elif missing and reasoning in (0, missing):  # thinking that the completion does not count
        completion += missing
    elif reasoning > completion and total != prompt + completion:
        completion += reasoning
    prompt, completion = min(prompt, MAX_TOKENS), min(completion, MAX_TOKENS)
    read = min(read, prompt)
    return Usage(
        prompt_tokens=prompt,
        cached_tokens=read,
        cache_write_tokens=min(written, prompt - read),
        completion_tokens=completion,
        reasoning_tokens=min(reasoning, completion),
        stated_cost_usd=stated_cost_usd(report),
    )


def in_openais_form(report: Mapping[str, Any]) -> Usage | None:
    """The usage of a report that has OpenAI's counts and no others, and whose total is their sum."""
    if report.keys() - _OPENAIS_DETAILS.keys() != _OPENAIS_COUNTS:
        return None
    for name, inner_names in _OPENAIS_DETAILS.items():
        details = report.get(name)
        if details is not None and not (type(details) is dict and details.keys() <= inner_names):
            return None
    prompt, completion, total = report["prompt_tokens"], report["completion_tokens"], report["total_tokens"]
    if not (_is_count(prompt) and _is_count(completion) and _is_count(total)):
        return None
    if not 0 < prompt == total - completion:
        return None
    cached = (report.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    reasoning = (report.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    if not (_is_count(cached) and _is_count(reasoning) and cached <= prompt and reasoning <= completion):
        return None
    return Usage(
        prompt_tokens=prompt, cached_tokens=cached, completion_tokens=completion, reasoning_tokens=reasoning
    )


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_TOKENS


def _prompt(report: Mapping[str, Any], total: int) -> tuple[int, int, int]:
    """The tokens of the whole prompt, and those of them that were read from the cache and written into it.

    Anthropic counts the cache beside `input_tokens`. OpenAI's `prompt_tokens` include it, and do so in most
    reports that use names of both.

    Args:
        total: the prompt's tokens by the total of the report; not positive: unknown.
    """
    with_cache = _first(report, _PROMPT_WITH_CACHE)
    prompt = with_cache or _first(report, _PROMPT)
    read, written = _first(report, _READ_WITHIN_PROMPT), _first(report, _WRITTEN_WITHIN_PROMPT)
    read_beside = 0 if read else _first(report, _READ)
    written_beside = 0 if written else _first(report, _WRITTEN)
    beside = read_beside + written_beside
    is_beside = not with_cache or beside > prompt or prompt + beside == total
    prompt += _first(report, _TOOL_RESULTS) + (beside if is_beside else 0)
    return prompt, read or read_beside, written or written_beside


def _first(report: Mapping[str, Any], names: tuple[str, ...]) -> int:
    """The first count that is not zero; a dot leads into an object."""
    for name in names:
        outer, _, inner = name.partition(".")
        value = report.get(outer)
        if inner:
            value = value.get(inner) if isinstance(value, Mapping) else None
        if value is not None and (n := _count(value)):
            return n
    return 0


def _count(value: object) -> int:
    """A whole number of tokens; 0 for any other value that a provider reports."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return 0
    if isinstance(value, float) and isfinite(value):
        value = round(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return 0
    return value if 0 <= value <= MAX_TOKENS else 0


def merged(earlier: Json, later: Json, *, is_final: bool) -> Json:
    """One report of two of the same call, of which a later zero or null erases nothing.

    Args:
        is_final: the later report counts the whole call; else the larger count stands, since some providers
            report what was added, and others what was used so far.
    """
    both = dict(earlier)
    for name, value in later.items():
        known = both.get(name)
        if isinstance(known, dict) and isinstance(value, dict):
            both[name] = merged(known, value, is_final=is_final)
        elif name not in both or _is_better(known, value, is_final):
            both[name] = value
    return both


def _is_better(known: object, value: object, is_final: bool) -> bool:
    if not value or is_final or not known:
        return bool(value)
    return isinstance(value, int | float) and isinstance(known, int | float) and value > known


def report_in(body: Mapping[str, Any]) -> Json | None:
    """The usage object of an answer or an event, wherever its provider put it."""
    if (report := _report_of(body)) is not None:
        return report
    if isinstance(groq := body.get("x_groq"), dict) and (report := _report_of(groq)) is not None:
        return report
    choices = body.get("choices")
    for choice in choices if isinstance(choices, list) else ():  # Moonshot
        if isinstance(choice, dict) and (report := _report_of(choice)) is not None:
            return report
    return {name: body[name] for name in _BARE if name in body} or None


def _report_of(place: Mapping[str, Any]) -> Json | None:
    report = place.get("usage") or place.get("usageMetadata") or place.get("usage_metadata")
    return report if isinstance(report, dict) else None
