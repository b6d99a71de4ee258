from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.stated_cost import dollars, stated_cost_usd

NO_COST: list[Any] = [
    None,
    True,
    False,
    -0.01,
    "-0.01",
    float("nan"),
    float("inf"),
    float("-inf"),
    "NaN",
    "Infinity",
    "sNaN",
    "",
    "free",
    "$0.01",
    "0.01 USD",
    [0.01],
    {},
    1001,
    "1e9",
    10**5000,
    "1e999999999",
]


@pytest.mark.parametrize("value", NO_COST, ids=range(len(NO_COST)))
def test_what_is_no_sane_number_of_dollars_is_no_statement(value: object) -> None:
    assert dollars(value) is None
    assert stated_cost_usd({"cost": value}) is None


@pytest.mark.parametrize("value", [0.0123, "0.0123", " 0.0123 ", Decimal("0.0123"), "1.23e-2"], ids=repr)
def test_dollars_are_read_from_numbers_and_strings(value: object) -> None:
    assert dollars(value) == Decimal("0.0123")


def test_dollars_are_rounded_to_the_places_that_are_stored() -> None:
    assert dollars("0.00000000049") == 0
    assert dollars(1 / 3) == Decimal("0.333333333")
    assert dollars(1000) == 1000
    assert str(dollars("-0")) == "0E-9"


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        pytest.param({"cost": 0.95}, "0.95", id="openrouter"),
        pytest.param({"cost": "0.95"}, "0.95", id="a string"),
        pytest.param({"cost": 0}, "0", id="a stated zero"),
        pytest.param(
            {"cost": 0.95, "cost_details": {"upstream_inference_cost": None}}, "0.95", id="no upstream cost"
        ),
        pytest.param(
            {"cost": 0, "cost_details": {"upstream_inference_cost": 0.012}}, "0.012", id="own key, unmarked"
        ),
        pytest.param(
            {"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": "0.012"}},
            "0.012",
            id="own key, no fee",
        ),
        pytest.param(
            {"cost": 0.05, "is_byok": True, "cost_details": {"upstream_inference_cost": 1}},
            "1.05",
            id="own key and a fee",
        ),
        pytest.param(
            {"cost": 0.05, "cost_details": {"upstream_inference_cost": 1}}, "1", id="a fee, unmarked"
        ),
        pytest.param(
            {"cost": 0.9, "is_byok": False, "cost_details": {"upstream_inference_cost": 1}},
            "0.9",
            id="the gateway's key and a discount",
        ),
        pytest.param({"cost_details": {"upstream_inference_cost": 0.5}}, "0.5", id="only the upstream cost"),
        pytest.param({"cost": 0.5, "cost_details": [1]}, "0.5", id="details of another kind"),
        pytest.param(
            {"cost": {"input_tokens_cost": 0.1, "request_cost": 0.005, "total_cost": 0.205}},
            "0.205",
            id="perplexity",
        ),
        pytest.param({"estimated_cost": 0.00035}, "0.00035", id="deepinfra"),
        pytest.param({"cost_in_usd_ticks": 37_756_000}, "0.0037756", id="xai"),
        pytest.param(
            {"cost": -1, "cost_in_usd_ticks": 37_756_000}, "0.0037756", id="the next one that is sound"
        ),
    ],
)
def test_every_vendors_way_to_state_the_cost(usage: dict[str, Any], cost: str) -> None:
    assert stated_cost_usd(usage) == Decimal(cost)


@pytest.mark.parametrize(
    "usage", [{}, {"cost": {}}, {"cost": {"total_cost": True}}, {"cost_in_usd_ticks": -1}]
)
def test_a_usage_without_a_cost_states_none(usage: dict[str, Any]) -> None:
    assert stated_cost_usd(usage) is None


anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.decimals(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["total_cost", "upstream_inference_cost"]) | st.text(max_size=4),
            inner,
            max_size=3,
        )
    ),
    max_leaves=5,
)
names = st.sampled_from(["cost", "cost_details", "is_byok", "estimated_cost", "cost_in_usd_ticks"])


@settings(deadline=None)  # the first example imports
@given(st.dictionaries(names, anything))
def test_a_stated_cost_is_finite_and_never_negative(usage: dict[str, Any]) -> None:
    stated = stated_cost_usd(usage)

    assert stated is None or (stated.is_finite() and 0 <= stated <= 2000)
