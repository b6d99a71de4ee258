from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.answer import Usage
from service.domain.arm import Price
from service.domain.usage import cost_usd, estimated_usage, reported, reported_to_anthropic, usage_from

counts = st.integers(0, 10**7)
dollars = st.decimals(0, 1000, places=6)
anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
usages = st.builds(
    lambda plain, read, written, text, thinking: Usage(
        plain + read + written, read, text + thinking, thinking, cache_write_tokens=written
    ),
    counts,
    counts,
    counts,
    counts,
    counts,
)
NAMES = (
    "prompt_tokens",
    "completion_tokens",
    "prompt_tokens_details",
    "completion_tokens_details",
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "prompt_cache_hit_tokens",
)


@given(st.integers(1, 10**6), counts, counts, counts)
def test_both_dialects_report_the_same_usage_of_one_call(
    plain: int, read: int, created: int, completion: int
) -> None:
    openai = {
        "prompt_tokens": plain + read + created,
        "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": created},
        "completion_tokens": completion,
    }
    anthropic = {
        "input_tokens": plain,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": created,
        "output_tokens": completion,
    }

    expected = Usage(plain + read + created, read, completion, cache_write_tokens=created)
    assert usage_from(anthropic) == usage_from(openai) == expected


@given(usages.filter(lambda usage: usage.prompt_tokens + usage.completion_tokens > 0))
def test_usage_survives_being_reported(usage: Usage) -> None:
    assert usage_from(reported(usage)) == usage
    assert usage_from(reported_to_anthropic(usage)) == replace(usage, reasoning_tokens=0)


@given(anything | st.dictionaries(st.sampled_from(NAMES), anything))
def test_any_report_gives_valid_counts_or_none(report: object) -> None:
    usage = usage_from(report)

    if usage is not None:
        assert min(usage.cached_tokens, usage.cache_write_tokens) >= 0
        assert usage.cached_tokens + usage.cache_write_tokens <= usage.prompt_tokens < 2**31
        assert 0 <= usage.reasoning_tokens <= usage.completion_tokens < 2**31
        assert usage.prompt_tokens + usage.completion_tokens > 0


@pytest.mark.parametrize("report", [None, {}, [], {"total_tokens": 9}, {"prompt_tokens": None}])
def test_a_report_that_counts_nothing_is_none(report: object) -> None:
    assert usage_from(report) is None


def test_deepseeks_name_for_cached_tokens_is_read() -> None:
    report = {"prompt_tokens": 10, "prompt_cache_hit_tokens": 8, "completion_tokens": 1}

    assert usage_from(report) == Usage(10, 8, 1)


def test_a_proxys_name_for_tokens_written_into_the_cache_is_read() -> None:
    report = {"prompt_tokens": 10, "cache_creation_input_tokens": 7, "completion_tokens": 1}

    assert usage_from(report) == Usage(10, 0, 1, cache_write_tokens=7)


@given(usages, dollars, dollars, dollars, dollars)
def test_every_token_is_billed_once_at_its_own_price(
    usage: Usage, price: Decimal, cached: Decimal, written: Decimal, output: Decimal
) -> None:
    cost = cost_usd(usage, Price(price, output, cached, written))

    fresh = usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens
    through_the_cache = usage.cached_tokens * cached + usage.cache_write_tokens * written
    assert cost * 1_000_000 == fresh * price + through_the_cache + usage.completion_tokens * output


@given(usages, dollars, dollars)
def test_without_a_cached_price_every_input_token_costs_the_same(
    usage: Usage, price: Decimal, output: Decimal
) -> None:
    uncached = Usage(usage.prompt_tokens, 0, usage.completion_tokens)

    assert cost_usd(usage, Price(price, output)) == cost_usd(uncached, Price(price, output))


def test_a_known_bill_is_computed_to_the_cent() -> None:
    price = Price(Decimal("3"), Decimal("15"), cached_input=Decimal("0.30"), cache_write=Decimal("3.75"))
    usage = Usage(
        prompt_tokens=1_000_000, cached_tokens=400_000, completion_tokens=50_000, cache_write_tokens=200_000
    )

    cost = cost_usd(usage, price)

    assert cost == Decimal("1.20") + Decimal("0.12") + Decimal("0.75") + Decimal("0.75")


def test_an_estimate_is_marked_and_counts_text_without_embedded_files() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 4000}}
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "ä" * 400}, image]}]}

    usage = estimated_usage(body, 41)

    assert usage.estimated
    assert 200 <= usage.prompt_tokens < 220
    assert usage.completion_tokens == 11


def test_the_cost_that_a_provider_states_is_read_with_its_tokens() -> None:
    usage = usage_from({"prompt_tokens": 5, "completion_tokens": 2, "cost": 0.25})

    assert usage == Usage(5, 0, 2, stated_cost_usd=Decimal("0.25"))
    assert reported(usage)["cost"] == 0.25
    assert usage_from(reported(usage)) == usage


def test_a_usage_without_a_stated_cost_reports_none() -> None:
    assert "cost" not in reported(Usage(5, 0, 2))
