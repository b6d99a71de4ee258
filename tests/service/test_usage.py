from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.types import Price, Usage
from service.usage import cost_usd, estimated_usage, reported, usage_from

counts = st.integers(0, 10**7)
dollars = st.decimals(0, 1000, places=6)
anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
usages = st.builds(
    lambda plain, cached, said, thought: Usage(plain + cached, cached, said + thought, thought),
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
    "prompt_cache_hit_tokens",
)


@given(st.integers(1, 10**6), counts, counts, counts)
def test_both_dialects_say_the_same_of_one_call(plain: int, read: int, created: int, completion: int) -> None:
    openai = {
        "prompt_tokens": plain + read + created,
        "prompt_tokens_details": {"cached_tokens": read},
        "completion_tokens": completion,
    }
    anthropic = {
        "input_tokens": plain,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": created,
        "output_tokens": completion,
    }

    assert usage_from(anthropic) == usage_from(openai) == Usage(plain + read + created, read, completion)


@given(usages.filter(lambda usage: usage.prompt_tokens + usage.completion_tokens > 0))
def test_usage_survives_being_reported(usage: Usage) -> None:
    assert usage_from(reported(usage)) == usage


@given(anything | st.dictionaries(st.sampled_from(NAMES), anything))
def test_whatever_is_reported_gives_sound_counts_or_none(report: object) -> None:
    usage = usage_from(report)

    if usage is not None:
        assert 0 <= usage.cached_tokens <= usage.prompt_tokens < 2**31
        assert 0 <= usage.reasoning_tokens <= usage.completion_tokens < 2**31
        assert usage.prompt_tokens + usage.completion_tokens > 0


@pytest.mark.parametrize("report", [None, {}, [], {"total_tokens": 9}, {"prompt_tokens": None}])
def test_a_report_that_counts_nothing_is_none(report: object) -> None:
    assert usage_from(report) is None


def test_deepseeks_own_name_for_cached_tokens_is_understood() -> None:
    report = {"prompt_tokens": 10, "prompt_cache_hit_tokens": 8, "completion_tokens": 1}

    assert usage_from(report) == Usage(10, 8, 1)


@given(usages, dollars, dollars, dollars)
def test_cached_tokens_are_paid_once_at_their_own_price(
    usage: Usage, price: Decimal, cached: Decimal, output: Decimal
) -> None:
    cost = cost_usd(usage, Price(price, output, cached))

    fresh = usage.prompt_tokens - usage.cached_tokens
    parts = fresh * price + usage.cached_tokens * cached + usage.completion_tokens * output
    assert cost * 1_000_000 == parts


@given(usages, dollars, dollars)
def test_without_a_cached_price_every_input_token_costs_the_same(
    usage: Usage, price: Decimal, output: Decimal
) -> None:
    uncached = Usage(usage.prompt_tokens, 0, usage.completion_tokens)

    assert cost_usd(usage, Price(price, output)) == cost_usd(uncached, Price(price, output))


def test_a_known_bill_comes_out_to_the_cent() -> None:
    price = Price(input=Decimal("0.15"), output=Decimal("0.60"), cached_input=Decimal("0.075"))

    cost = cost_usd(Usage(prompt_tokens=1_000_000, cached_tokens=400_000, completion_tokens=50_000), price)

    assert cost == Decimal("0.09") + Decimal("0.03") + Decimal("0.03")


def test_an_estimate_says_so_and_counts_text_but_no_embedded_file() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 4000}}
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "ä" * 400}, image]}]}

    usage = estimated_usage(body, 41)

    assert usage.estimated
    assert 200 <= usage.prompt_tokens < 220
    assert usage.completion_tokens == 11
