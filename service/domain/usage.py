"""Tokens and dollars of a call: estimated, written for clients, and billed.

OpenAI includes tokens read from the cache, or written into it, in `prompt_tokens`. Anthropic counts them
outside `input_tokens`. `Usage` counts as OpenAI does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from service.domain.answer import Usage
from service.domain.arm import Price
from service.domain.basics import CostSource, Json
from service.domain.usage_report import in_openais_form
from service.domain.value import value

BYTES_PER_TOKEN = 4


def estimated_usage(body: Json, n_answer_bytes: int) -> Usage:
    """Estimate from lengths the tokens of a call whose provider reported none."""
    n_prompt_bytes = text_bytes([body.get("messages"), body.get("tools")])
    return Usage(
        prompt_tokens=_tokens(n_prompt_bytes), completion_tokens=_tokens(n_answer_bytes), estimated=True
    )


def settled(usage: Usage | None, body: Json, n_answer_bytes: int) -> Usage:
    """The reported usage, with an estimate for every count that is missing or cannot be zero."""
    if usage is None:
        return estimated_usage(body, n_answer_bytes)
    if usage.prompt_tokens and (usage.completion_tokens or not n_answer_bytes):
        return usage
    estimate = estimated_usage(body, n_answer_bytes)
    return replace(
        usage,
        prompt_tokens=usage.prompt_tokens or estimate.prompt_tokens,
        completion_tokens=usage.completion_tokens or estimate.completion_tokens,
        estimated=True,
    )


def with_stated_cost(usage: Usage, stated_usd: Decimal | None) -> Usage:
    """The usage with a cost that was stated beside it; one inside goes first."""
    if usage.stated_cost_usd or stated_usd == usage.stated_cost_usd:
        return usage
    return replace(usage, stated_cost_usd=stated_usd)


def _tokens(n_bytes: int) -> int:
    return -(-n_bytes // BYTES_PER_TOKEN)


def text_bytes(value: object) -> int:
    """UTF-8 bytes of every string inside, except embedded files, whose length says nothing about tokens."""
    n_bytes = 0
    rest = [value]
    while rest:
        item = rest.pop()
        if isinstance(item, str):
            n_bytes += length(item)
        elif isinstance(item, Mapping):
            rest.extend(item.values())
        elif isinstance(item, list):
            rest.extend(item)
    return n_bytes


def length(text: str) -> int:
    """Its UTF-8 bytes; 0 for an embedded file."""
    if text.startswith("data:"):
        return 0
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


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


def shown(report: Json | None, usage: Usage) -> Json:
    """The provider's report for clients: unchanged if OpenAI's names give the usage, else corrected."""
    if not report:
        return reported(usage)
    if in_openais_form(report) == usage:
        return report
    # The report states its cost already.
    correct = reported(usage if usage.stated_cost_usd is None else replace(usage, stated_cost_usd=None))
    wrong = {name: value for name, value in correct.items() if not _agrees(report.get(name), value)}
    for name in ("prompt_tokens_details", "completion_tokens_details"):
        if name in wrong:
            wrong[name] = {**_object(report.get(name)), **wrong[name]}
    return {**report, **wrong} if wrong else report


def _agrees(value: object, correct: object) -> bool:
    """Whether a report's value is correct; it may omit details that are zero."""
    if isinstance(correct, dict):
        return all((_object(value).get(name) or 0) == n for name, n in correct.items())
    return type(value) is int and value == correct


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def reported_to_anthropic(usage: Usage) -> Json:
    """The usage as an Anthropic usage object."""
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
    }


def reported_to_google(usage: Usage) -> Json:
    """The usage as Google's `usageMetadata`, which counts thoughts apart from the answer."""
    report = {
        "promptTokenCount": usage.prompt_tokens,
        "candidatesTokenCount": max(0, usage.completion_tokens - usage.reasoning_tokens),
        "totalTokenCount": usage.prompt_tokens + usage.completion_tokens,
    }
    if usage.reasoning_tokens:
        report["thoughtsTokenCount"] = min(usage.reasoning_tokens, usage.completion_tokens)
    if usage.cached_tokens:
        report["cachedContentTokenCount"] = usage.cached_tokens
    return report


@value
class Cost:
    """The dollars of one call, and who says so."""

    usd: Decimal | None  # None: nobody knows them
    source: CostSource


def cost_of(usage: Usage, price: Price | None) -> Cost:
    """The cost of a call: what the provider states, else its tokens at the price.

    A stated zero is no statement: gateways send it for every model whose price they do not know. A call
    without tokens costs nothing at any price.
    """
    if usage.stated_cost_usd:
        return Cost(usage.stated_cost_usd, "provider")
    if price is not None:
        return Cost(cost_usd(usage, price), "price")
    if not (usage.prompt_tokens or usage.completion_tokens):
        return Cost(Decimal(0), "price")
    return Cost(None, "unknown")


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
