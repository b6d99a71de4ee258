from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.arm import FREE, Price
from service.domain.price_list import ListedModel, read_price_list

PRICING = {"prompt": "0.000003", "completion": "0.000015", "request": "0", "image": "0"}


def listed(**changes: Any) -> dict[str, Any]:
    return {"id": "a/model", "pricing": PRICING, **changes}


def read(*entries: object) -> dict[str, ListedModel]:
    return read_price_list({"object": "list", "data": list(entries)})


def test_prices_per_token_become_prices_per_million() -> None:
    pricing = {**PRICING, "input_cache_read": "0.0000003", "input_cache_write": "0.00000375"}

    found = read(
        listed(
            pricing=pricing, context_length=200_000, top_provider={"max_completion_tokens": 64_000, "x": 1}
        )
    )

    price = Price(Decimal(3), Decimal(15), Decimal("0.3"), Decimal("3.75"))
    assert found == {"a/model": ListedModel(price, 200_000, 64_000)}


def test_a_list_without_an_envelope_is_read_too() -> None:
    assert read_price_list([listed()]) == read(listed())


def test_a_model_has_both_of_its_names() -> None:
    found = read(listed(canonical_slug="a/model-20260101"))

    assert found["a/model-20260101"] == found["a/model"]


def test_a_free_variant_does_not_make_its_model_free() -> None:
    paid = listed(canonical_slug="a/slug")
    pricing = {"prompt": "0", "completion": "0"}
    variant = listed(id="a/model:free", canonical_slug="a/slug", pricing=pricing)

    for found in (read(paid, variant), read(variant, paid)):
        assert found["a/slug"] == found["a/model"]
        assert found["a/model"].price.input == 3
        assert found["a/model:free"].price == FREE


def test_a_price_of_zero_is_free() -> None:
    assert read(listed(pricing={"prompt": "0", "completion": "0"}))["a/model"].price == FREE


@pytest.mark.parametrize(
    "pricing",
    [
        None,
        [],
        {},
        {"prompt": "0.000003"},
        {"prompt": "-1", "completion": "-1"},
        {"prompt": "0.000003", "completion": "-1"},
        {"prompt": "NaN", "completion": "0.1"},
        {"prompt": "Infinity", "completion": "0.1"},
        {"prompt": "0.2", "completion": "0.2"},
        {"prompt": True, "completion": "0.000001"},
        {"prompt": {"usd": 1}, "completion": "0.000001"},
        {"prompt": "free", "completion": "free"},
        {"input": 0.2, "output": 0.4},
    ],
    ids=repr,
)
def test_an_entry_without_a_sound_price_is_left_out(pricing: object) -> None:
    assert read(listed(pricing=pricing), listed(id="b")).keys() == {"b"}


@pytest.mark.parametrize("limit", ["200000", 0, -1, 2.5, True, None, [1]], ids=repr)
def test_a_limit_that_is_none_is_ignored(limit: object) -> None:
    found = read(listed(context_length=limit, top_provider={"max_completion_tokens": limit}))

    assert (found["a/model"].context_window, found["a/model"].max_output_tokens) == (None, None)


def test_a_bad_cached_price_does_not_cost_the_entry() -> None:
    assert read(listed(pricing={**PRICING, "input_cache_read": "-1"}))["a/model"].price.cached_input is None


@pytest.mark.parametrize(
    "document", [None, 1, "x", [], {}, {"data": None}, {"data": {}}, {"data": [1, None, []]}], ids=repr
)
def test_what_is_no_list_has_no_models(document: object) -> None:
    assert read_price_list(document) == {}


anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.just("0.000001"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["data", "id", "pricing", "prompt", "completion", "canonical_slug", "top_provider"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(anything)
def test_any_document_is_read_without_an_error(document: object) -> None:
    for model in read_price_list(document).values():
        assert 0 <= model.price.input <= 100_000
        assert 0 <= model.price.output <= 100_000
