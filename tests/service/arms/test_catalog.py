from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import orjson
import pytest

from service.arms.breaker import Breaker
from service.arms.catalog import Catalog
from service.arms.eligibility import limited, list_cost_usd
from service.dialects.chat.requests import read_query
from service.dialects.received import Received
from service.domain.arm import Arm
from service.domain.decision import Neighbour
from service.domain.neighbours import NeighbourColumns
from service.domain.query import Query
from service.domain.registration import ArmRegistration, ArmState, PriceChange
from service.errors import (
    AllArmsLimited,
    BadRequest,
    ContextTooLong,
    NoEligibleArm,
    ProviderBroken,
    ProviderRateLimited,
    UnknownModel,
)
from tests.fakes import FixedClock
from tests.service.world import ARMS, LARGE, MEDIUM, SMALL

ANYTHING = Arm("anything", "litellm", "anything")  # its capabilities are unknown
BY_SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}


@pytest.fixture
def catalog() -> Catalog:
    return Catalog(ARMS, "small", Breaker(FixedClock()))


def query(content: object = "Hi", **body: Any) -> Query:
    raw = orjson.dumps({"messages": [{"role": "user", "content": content}], **body})
    return read_query(
        raw,
        Received(
            headers={},
            tenant="default",
            request_id="r-1",
            request_id_given=True,
            received_at=datetime(2026, 11, 20, tzinfo=UTC),
        ),
    )


def names(catalog: Catalog, query: Query) -> list[str]:
    return [arm.arm_id for arm in catalog.eligible(query)[0]]


def reasons(catalog: Catalog, query: Query) -> dict[str, str]:
    return {rejection.arm_id: rejection.reason for rejection in catalog.eligible(query)[1]}


def test_a_plain_question_may_go_to_any_arm(catalog: Catalog) -> None:
    assert names(catalog, query()) == ["small", "medium", "large"]
    assert reasons(catalog, query()) == {}


def test_arms_are_found_by_id_and_alias(catalog: Catalog) -> None:
    assert catalog.find("medium") is MEDIUM
    assert catalog.find("mini") is SMALL


def test_a_prompt_goes_only_where_it_fits(catalog: Catalog) -> None:
    long = query("x" * 4 * 5_000)

    assert names(catalog, long) == ["medium", "large"]
    assert "tokens exceeds its window of 4000" in reasons(catalog, long)["small"]


def test_an_answer_must_have_room_after_the_prompt(catalog: Catalog) -> None:
    short, long = query("x" * 4 * 2_900, max_tokens=64_000), query("x" * 4 * 3_100, max_tokens=64_000)

    assert names(catalog, short) == ["small", "medium", "large"]
    assert names(catalog, long) == ["medium", "large"]
    assert "with an answer of 1000 exceeds its window of 4000" in reasons(catalog, long)["small"]
    assert names(catalog, query("x" * 4 * 3_100, max_tokens=500)) == ["small", "medium", "large"]


@pytest.mark.parametrize(
    ("n_prompt", "max_tokens", "own_limit", "limit"),
    [
        (100, None, 8_000, 8_000),
        (100, 5_000, None, None),
        (4_000, 64_000, None, 10_997),  # an estimate of the prompt, with a quarter more
        (4_000, 64_000, 8_000, 8_000),
        (12_000, 64_000, None, 4_000),
    ],
)
def test_the_longest_answer_is_what_the_window_leaves(
    n_prompt: int, max_tokens: int | None, own_limit: int | None, limit: int | None
) -> None:
    arm = replace(MEDIUM, max_output_tokens=own_limit)
    asked = query("x" * 4 * n_prompt, **({} if max_tokens is None else {"max_tokens": max_tokens}))

    assert limited(arm, asked).max_output_tokens == limit


def test_a_prompt_that_fits_nowhere_is_too_long(catalog: Catalog) -> None:
    with pytest.raises(ContextTooLong, match=r"small: .*4000; medium: .*16000; large: .*100000") as refused:
        catalog.eligible(query("x" * 4 * 200_000))

    assert refused.value.param == "messages"


def test_a_prompt_too_long_for_the_named_arm_is_rejected_with_that_arm_alone(catalog: Catalog) -> None:
    with pytest.raises(ContextTooLong, match=r"length is 4000 tokens\. .*answer: small: [^;]*$"):
        catalog.eligible(query("x" * 4 * 5_000, model="small"))


@pytest.mark.parametrize(
    ("body", "left", "missing"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, ["small", "medium", "large"], None),
        ({"functions": [{"name": "f"}]}, ["small", "medium", "large"], None),
        ({"response_format": BY_SCHEMA}, ["medium", "large"], "json_schema"),
        ({"response_format": {"type": "text"}}, ["small", "medium", "large"], None),
        ({"content": [{"type": "image_url"}]}, ["large"], "vision"),
        (
            {"content": [{"type": "image_url"}], "response_format": BY_SCHEMA},
            ["large"],
            "json_schema, vision",
        ),
        ({"content": [{"type": "text", "text": "Hi"}]}, ["small", "medium", "large"], None),
    ],
)
def test_an_arm_that_lacks_a_capability_is_left_out(
    catalog: Catalog, body: dict[str, Any], left: list[str], missing: str | None
) -> None:
    restricted = query(**body)

    assert names(catalog, restricted) == left
    assert reasons(catalog, restricted).get("small") == (missing and f"cannot do {missing}")


@pytest.mark.parametrize(
    ("body", "need"),
    [
        ({"tool_choice": "required", "tools": [{}]}, "tool_choice"),
        ({"parallel_tool_calls": True, "tools": [{}]}, "parallel_tools"),
        ({"reasoning_effort": "low"}, "reasoning"),
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"stream": True}, "streaming"),
        ({"modalities": ["text", "audio"]}, "audio"),
    ],
)
def test_a_known_lack_excludes_an_arm_and_an_unknown_capability_does_not(
    body: dict[str, Any], need: str
) -> None:
    lacking = replace(ANYTHING, arm_id="lacking", lacks=frozenset({need}))
    catalog = Catalog((ANYTHING, lacking), "anything", Breaker(FixedClock()))

    assert names(catalog, query(**body)) == ["anything"]
    assert reasons(catalog, query(**body)) == {"lacking": f"cannot do {need}"}
    assert names(catalog, query()) == ["anything", "lacking"]


def test_an_arm_whose_output_limit_is_smaller_stays() -> None:
    terse = replace(ANYTHING, arm_id="terse", max_output_tokens=100)
    catalog = Catalog((ANYTHING, terse), "anything", Breaker(FixedClock()))

    assert names(catalog, query(max_tokens=101)) == ["anything", "terse"]


def test_an_arm_that_knows_no_such_field_is_left_out() -> None:
    o3 = replace(ANYTHING, arm_id="o3", provider="openai", model="o3", base_url="https://api.openai.com/v1")
    catalog = Catalog((ANYTHING, o3), "anything", Breaker(FixedClock()))

    assert reasons(catalog, query(logit_bias={"1": 2})) == {"o3": "does not accept logit_bias"}
    assert reasons(catalog, query(logit_bias={})) == {}


def test_a_client_may_exclude_arms_by_id_or_alias(catalog: Catalog) -> None:
    restricted = query(router={"exclude": ["mini", "large"]})

    assert names(catalog, restricted) == ["medium"]
    assert reasons(catalog, restricted)["small"] == "among router.exclude"


def test_a_client_may_require_more_promises_than_the_operator_but_not_fewer() -> None:
    careful = replace(ANYTHING, arm_id="careful", data_use=frozenset({"no_training"}))
    local = replace(ANYTHING, arm_id="local", data_use=frozenset({"no_training", "eu"}))
    catalog = Catalog(
        (ANYTHING, careful, local),
        "local",
        Breaker(FixedClock()),
        required_data_use=frozenset({"no_training"}),
    )

    assert names(catalog, query()) == ["careful", "local"]
    assert names(catalog, query(router={"require_data_use": ["eu"]})) == ["local"]
    with pytest.raises(NoEligibleArm, match="anything: its provider does not promise no_training"):
        catalog.eligible(query(model="anything"))


def test_images_count_for_the_context_window(catalog: Catalog) -> None:
    images = [{"type": "image_url"}] * 100

    with pytest.raises(ContextTooLong, match="prompt of about 16"):
        catalog.eligible(query(images, model="large"))


def test_an_arm_without_known_capabilities_is_eligible_for_everything() -> None:
    catalog = Catalog((ANYTHING,), "anything", Breaker(FixedClock()))

    assert names(catalog, query([{"type": "input_audio"}], tools=[{}])) == ["anything"]


@pytest.mark.parametrize("odd", [{"type": "hologram"}, {}])
def test_a_part_of_unknown_type_needs_no_capability(catalog: Catalog, odd: dict[str, Any]) -> None:
    assert names(catalog, query([odd])) == ["small", "medium", "large"]


@pytest.mark.parametrize("odd", [{"type": {}}, {"type": [1]}, {"type": None}])
def test_a_part_whose_type_is_no_text_is_rejected_with_the_rule(odd: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match=r"messages\[0\]\.content\[0\]: type must be a string"):
        query([odd])


def test_audio_is_rejected_if_no_arm_can_do_it(catalog: Catalog) -> None:
    with pytest.raises(NoEligibleArm) as refused:
        catalog.eligible(query([{"type": "input_audio", "input_audio": {}}]))

    assert str(refused.value) == (
        "no model can answer this request: "
        "small: cannot do audio; medium: cannot do audio; large: cannot do audio"
    )


def test_a_client_may_allow_only_some_arms_by_id_or_alias(catalog: Catalog) -> None:
    restricted = query(router={"models": ["mini", "large"]})

    assert names(catalog, restricted) == ["small", "large"]
    assert reasons(catalog, restricted) == {"medium": "not among router.models"}


def test_an_error_says_for_each_arm_why_it_is_not_eligible(catalog: Catalog) -> None:
    restricted = query([{"type": "image_url"}], router={"models": ["small"]})

    with pytest.raises(NoEligibleArm, match=r"small: cannot do vision; medium: not among router.models"):
        catalog.eligible(restricted)


def test_an_arm_that_would_cost_too_much_is_left_out(catalog: Catalog) -> None:
    restricted = query(router={"max_cost_usd": 0.0002})

    assert names(catalog, restricted) == ["small"]
    assert reasons(catalog, restricted)["large"].endswith("USD exceeds max_cost_usd 0.0002")


@pytest.mark.parametrize(("beyond", "eligible"), [(0, True), (1, False)])
def test_the_cost_cap_is_exact(catalog: Catalog, beyond: int, eligible: bool) -> None:
    cap = list_cost_usd(LARGE, query()) - beyond * Decimal("1e-30")

    restricted = query(router={"max_cost_usd": f"{cap:f}"})

    assert ("large" in names(catalog, restricted)) is eligible


def test_a_short_answer_costs_less(catalog: Catalog) -> None:
    restricted = query(router={"max_cost_usd": 0.0002}, max_completion_tokens=20)

    assert names(catalog, restricted) == ["small", "medium", "large"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": "acme-0"}, "model"),
        ({"router": {"models": ["acme-0"]}}, "router.models"),
        ({"router": {"exclude": ["acme-0"]}}, "router.exclude"),
    ],
)
def test_the_error_of_an_unknown_model_lists_the_models(
    catalog: Catalog, body: dict[str, Any], param: str
) -> None:
    with pytest.raises(
        UnknownModel, match="'acme-0' does not exist; there are: auto, small, medium, large"
    ) as e:
        catalog.eligible(query(**body))

    assert e.value.param == param


def test_an_arm_that_is_cooling_down_is_left_out_with_the_reason(catalog: Catalog) -> None:
    catalog.breaker.failed(SMALL, ProviderRateLimited("wait", status=429, retry_after_s=20))

    assert names(catalog, query()) == ["medium", "large"]
    assert reasons(catalog, query()) == {"small": "cooling down for 20 s more: its provider asked to wait"}


def test_when_all_arms_are_cooling_down_the_error_says_when_the_first_is_back(catalog: Catalog) -> None:
    for wait_s, arm in zip((20, 7, 30), (SMALL, MEDIUM, LARGE), strict=True):
        catalog.breaker.failed(arm, ProviderRateLimited("wait", status=429, retry_after_s=wait_s))

    with pytest.raises(AllArmsLimited, match="every model that could answer is cooling down") as refused:
        catalog.eligible(query())

    assert refused.value.retry_after_s == 7
    assert list(refused.value.cooling_down) == ["medium", "small", "large"]


def test_an_arm_that_fails_can_be_named_since_no_other_could_answer(catalog: Catalog) -> None:
    for _ in range(3):
        catalog.breaker.failed(LARGE, ProviderBroken("gone"))

    eligible, _ = catalog.eligible(query(model="large"))

    assert eligible == [LARGE]


def test_an_arm_whose_provider_asks_to_wait_cannot_be_named(catalog: Catalog) -> None:
    catalog.breaker.failed(LARGE, ProviderRateLimited("slow down", retry_after_s=39))

    with pytest.raises(AllArmsLimited, match="large: cooling down for 39 s more: its provider asked to wait"):
        catalog.eligible(query(model="large"))


# --- changes at runtime


def registration(arm_id: str, **changes: Any) -> ArmRegistration:
    now = datetime(2026, 11, 20, tzinfo=UTC)
    return replace(ArmRegistration(arm_id, now, now), **changes)


def test_changed_states_apply_to_all_arms_at_once(catalog: Catalog) -> None:
    states: dict[str, ArmState] = {"medium": "shadow", "large": "draining"}

    catalog.put(ARMS, {arm_id: registration(arm_id, state=state) for arm_id, state in states.items()})

    assert names(catalog, query()) == ["small"]
    assert reasons(catalog, query()) == {
        "large": "is draining",
        "medium": "is in shadow and does not answer clients yet",
    }
    assert names(catalog, query(model="large")) == ["large"]
    with pytest.raises(UnknownModel, match="in shadow"):
        catalog.eligible(query(model="medium"))


def test_a_shadow_is_offered_only_requests_that_it_could_answer(catalog: Catalog) -> None:
    catalog.put(ARMS, {"medium": registration("medium", state="shadow")})

    assert catalog.shadows(query()) == [MEDIUM]
    assert catalog.shadows(query("x" * 4 * 20_000)) == []
    assert catalog.shadows(query(router={"models": ["small"]})) == []
    for _ in range(3):
        catalog.breaker.failed(MEDIUM, ProviderBroken("down"))
    assert catalog.shadows(query()) == []


def test_neighbours_have_costs_at_todays_prices(catalog: Catalog) -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    doubled = PriceChange(now - timedelta(hours=1), Decimal(2), Decimal(0))
    catalog.put(ARMS, {"small": registration("small", price_changes=(doubled,))})
    before, after = (
        Neighbour(uuid4(), "r", "small", 0.9, age_s, 1.0, 1.0, 1.0, 0.5) for age_s in (7200.0, 60.0)
    )

    assert [n.cost_usd for n in catalog.in_todays_prices(NeighbourColumns.of([before, after]), now)] == [
        1.0,
        0.5,
    ]
