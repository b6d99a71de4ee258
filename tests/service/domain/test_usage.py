from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from functools import partial, reduce
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.answer import Usage
from service.domain.arm import Price
from service.domain.basics import Json
from service.domain.usage import cost_usd, estimated_usage, reported, reported_to_anthropic, settled, shown
from service.domain.usage_report import merged, report_in, usage_from
from tests.service.domain.usage_shapes import SHAPES, Shape, row

USAGE_PAGE = Path(__file__).parents[3] / "docs" / "usage.md"

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


@pytest.mark.parametrize("shape", SHAPES, ids=[shape.name for shape in SHAPES])
def test_every_shape_of_a_report_is_read(shape: Shape) -> None:
    assert usage_from(shape.report) == shape.usage


@pytest.mark.parametrize("shape", [s for s in SHAPES if s.usage], ids=lambda shape: shape.name)
def test_clients_that_know_only_openais_names_read_the_same(shape: Shape) -> None:
    assert shape.usage is not None
    assert isinstance(shape.report, dict)

    seen = shown(shape.report, shape.usage)

    assert seen.items() >= {n: v for n, v in shape.report.items() if n not in reported(shape.usage)}.items()
    assert seen["total_tokens"] == seen["prompt_tokens"] + seen["completion_tokens"]
    assert usage_from({name: seen.get(name) for name in reported(shape.usage)}) == shape.usage


def test_the_page_lists_every_shape() -> None:
    table = USAGE_PAGE.read_text("utf-8").split("| shape | report |")[1].split("\n\n")[0]
    rows = [
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line in table.splitlines()
        if line.startswith("| ")
    ]

    assert rows == [row(shape) for shape in SHAPES]


def test_a_correct_report_reaches_clients_unchanged() -> None:
    report = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11, "cost": 0.1}

    assert shown(report, Usage(9, 0, 2)) is report
    assert shown(None, Usage(9, 0, 2)) == reported(Usage(9, 0, 2))


def test_details_of_a_corrected_report_stay() -> None:
    report = {
        "prompt_tokens": 9,
        "completion_tokens": 2,
        "total_tokens": 11,
        "cached_tokens": 4,
        "prompt_tokens_details": {"audio_tokens": 1},
    }

    assert shown(report, Usage(9, 4, 2))["prompt_tokens_details"] == {
        "audio_tokens": 1,
        "cached_tokens": 4,
        "cache_write_tokens": 0,
    }


@pytest.mark.parametrize(
    "body",
    [
        {"usage": {"prompt_tokens": 9, "completion_tokens": 2}},
        {"choices": None, "usage": {"prompt_tokens": 9, "completion_tokens": 2}},
        {"usage": None, "x_groq": {"id": "r", "usage": {"prompt_tokens": 9, "completion_tokens": 2}}},
        {"choices": [{"index": 0, "usage": {"prompt_tokens": 9, "completion_tokens": 2}}]},
        {"usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 2}},
        {"usage": {}, "usage_metadata": {"prompt_token_count": 9, "candidates_token_count": 2}},
        {"model": "llama", "prompt_eval_count": 9, "eval_count": 2},
    ],
)
def test_a_report_is_found_wherever_its_provider_puts_it(body: Json) -> None:
    assert usage_from(report_in(body)) == Usage(9, 0, 2)


@pytest.mark.parametrize("body", [{}, {"usage": None, "x_groq": None, "choices": [None, {"usage": 1}]}])
def test_an_answer_without_a_report_has_none(body: Json) -> None:
    assert report_in(body) is None


@pytest.mark.parametrize("total", [None, "3", 3.0, True, {}])
def test_a_total_that_is_no_count_leaves_the_other_counts(total: object) -> None:
    usage = usage_from({"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": total})

    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (1, 2)


ZERO = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": None}


@given(st.lists(st.tuples(counts, counts), min_size=1), st.booleans())
def test_a_later_zero_or_null_erases_no_count(reports: list[tuple[int, int]], is_final: bool) -> None:
    report = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}

    assert merged(report, ZERO, is_final=is_final) == report
    assert merged(ZERO, report, is_final=is_final) == report
    assert merged(report, {"prompt_tokens_details": None}, is_final=is_final).items() >= report.items()


@given(st.lists(st.tuples(counts, counts), min_size=1))
def test_of_several_reports_the_largest_count_stands_unless_the_last_is_final(
    pairs: list[tuple[int, int]],
) -> None:
    reports: list[Json] = [
        {"prompt_tokens": p, "prompt_tokens_details": {"cached_tokens": c}} for p, c in pairs
    ]

    largest = reduce(partial(merged, is_final=False), reports)
    last = reduce(partial(merged, is_final=True), reports)

    assert largest["prompt_tokens"] == max(p for p, _ in pairs)
    assert largest["prompt_tokens_details"]["cached_tokens"] == max(c for _, c in pairs)
    assert last["prompt_tokens"] == next((p for p, _ in reversed(pairs) if p), 0)


def test_counts_that_cannot_be_zero_are_estimated() -> None:
    body = {"messages": [{"role": "user", "content": "x" * 400}]}

    assert settled(Usage(9, 0, 2), body, 40) == Usage(9, 0, 2)
    assert settled(Usage(9), body, 0) == Usage(9)  # nothing was answered
    assert settled(Usage(9), body, 40) == Usage(9, 0, 10, estimated=True)
    assert settled(Usage(0, 0, 2), body, 40) == Usage(101, 0, 2, estimated=True)
    assert settled(None, body, 40) == Usage(101, 0, 10, estimated=True)


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
