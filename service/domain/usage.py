"""Tokens and dollars: the one place that turns providers' reports into `Usage`.

OpenAI includes tokens read from the cache, or written into it, in `prompt_tokens`. Anthropic counts them
outside `input_tokens`. `Usage` counts as OpenAI does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from service.domain.answer import Usage
from service.domain.arm import Price
from service.domain.basics import Json
from service.domain.stated_cost import stated_cost_usd

BYTES_PER_TOKEN = 4
_MAX_TOKENS = 2**31 - 1  # more is a provider's mistake, and exceeds the journal's integers


def usage_from(reported: object) -> Usage | None:
    """Read a provider's usage object; None if it counts no token."""
    if not isinstance(reported, Mapping):
        return None
    is_anthropic = "input_tokens" in reported or "output_tokens" in reported
    usage = _anthropic(reported) if is_anthropic else _openai(reported)
    if not (usage.prompt_tokens or usage.completion_tokens):
        return None
    return replace(usage, stated_cost_usd=stated_cost_usd(reported))


def _openai(counts: Mapping[str, Any]) -> Usage:
    prompt_tokens = _count(counts.get("prompt_tokens"))
    completion_tokens = _count(counts.get("completion_tokens"))
    cached = _detail(counts, "prompt_tokens_details", "cached_tokens")
    # DeepSeek's name for cached tokens.
    cached = cached or _count(counts.get("prompt_cache_hit_tokens"))
    cached = min(cached, prompt_tokens)
    written = _detail(counts, "prompt_tokens_details", "cache_write_tokens")
    # The name that proxies for Anthropic use.
    written = written or _count(counts.get("cache_creation_input_tokens"))
    reasoning = _detail(counts, "completion_tokens_details", "reasoning_tokens")
    return Usage(
        prompt_tokens=prompt_tokens,
        cached_tokens=cached,
        cache_write_tokens=min(written, prompt_tokens - cached),
        completion_tokens=completion_tokens,
        reasoning_tokens=min(reasoning, completion_tokens),
    )


def _anthropic(counts: Mapping[str, Any]) -> Usage:
    read = _count(counts.get("cache_read_input_tokens"))
    created = _count(counts.get("cache_creation_input_tokens"))
    prompt_tokens = min(_count(counts.get("input_tokens")) + read + created, _MAX_TOKENS)
    return Usage(
        prompt_tokens=prompt_tokens,
        cached_tokens=read,
        cache_write_tokens=min(created, prompt_tokens - read),
        completion_tokens=_count(counts.get("output_tokens")),
    )


def _detail(counts: Mapping[str, Any], details: str, name: str) -> int:
    found = counts.get(details)
    return _count(found.get(name)) if isinstance(found, Mapping) else 0


def _count(value: object) -> int:
    """A whole number of tokens; 0 for any other value that a provider reports."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return 0
    return value if 0 <= value <= _MAX_TOKENS else 0


def estimated_usage(body: Json, n_answer_bytes: int) -> Usage:
    """Estimate from lengths the tokens of a call whose provider reported none."""
    n_prompt_bytes = text_bytes([body.get("messages"), body.get("tools")])
    return Usage(
        prompt_tokens=_tokens(n_prompt_bytes), completion_tokens=_tokens(n_answer_bytes), estimated=True
    )


def _tokens(n_bytes: int) -> int:
    return -(-n_bytes // BYTES_PER_TOKEN)


def text_bytes(value: object) -> int:
    """UTF-8 bytes of every string inside, except embedded files, whose length says nothing about tokens."""
    n_bytes = 0
    rest = [value]
    while rest:
        item = rest.pop()
        if isinstance(item, str):
            n_bytes += 0 if item.startswith("data:") else len(item.encode(errors="replace"))
        elif isinstance(item, Mapping):
            rest.extend(item.values())
        elif isinstance(item, list):
            rest.extend(item)
    return n_bytes


def reported(usage: Usage) -> Json:
    """The usage as an OpenAI usage object, with the cost that the provider stated, as OpenRouter names it."""
    cost = {} if usage.stated_cost_usd is None else {"cost": float(usage.stated_cost_usd)}
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        **cost,
    }


def reported_to_anthropic(usage: Usage) -> Json:
    """The usage as an Anthropic usage object."""
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
    }


def cost_usd(usage: Usage, price: Price) -> Decimal:
    """The exact cost of a call in dollars.

    Tokens read from the provider's cache cost `cached_input`, and those written into it `cache_write`. Either
    costs `input` if the price does not set it.
    """
    cached_price = price.input if price.cached_input is None else price.cached_input
    write_price = price.input if price.cache_write is None else price.cache_write
    per_million = (
        (usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens) * price.input
        + usage.cached_tokens * cached_price
        + usage.cache_write_tokens * write_price
        + usage.completion_tokens * price.output
    )
    return per_million.scaleb(-6)
