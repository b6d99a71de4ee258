from __future__ import annotations

from pathlib import Path

import pytest

from service.domain.arm import Arm
from tests.service.world import World, arm, error_of, opened

SUBSTITUTED = "X-Router-Model-Substituted"
HAIKU = arm("claude-haiku-4-5", "1.00", aliases=("haiku-arm",))
DATED = arm("gpt-4.1-2025-04-14", "2.00")
OWN = Arm("own", "openai", "qwen/qwen3-32b", base_url="http://127.0.0.1:9/v1")
ALIASES = {"sonnet": "auto", "fast": ["haiku-arm", "own"], "only": "own"}
HI = [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", ["claude-opus-5-5", "openai/gpt-9", "models/gemini-9-pro", "o4-mini"])
async def test_the_router_chooses_for_a_well_known_name_that_no_arm_has(
    world: World, name: str, stream: bool
) -> None:
    response = await world.ask(model=name, stream=stream, request_id="r-1")

    assert response.status_code == 200
    assert response.headers[SUBSTITUTED] == name
    assert response.headers["X-Router-Decision"] in {"exploit", "explore"}
    record = await world.record("r-1")
    assert (record["requested_model"], record["substituted_model"]) == (None, name)


async def test_no_name_is_substituted_where_the_router_was_asked_to_choose(world: World) -> None:
    answers = [await world.ask(), *[await world.ask(model=name) for name in ("auto", "claude-router", "big")]]

    assert all(SUBSTITUTED not in answer.headers for answer in answers)


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
async def test_a_well_known_name_is_answered_in_anthropics_dialect(world: World, path: str) -> None:
    body = {"model": "claude-opus-5-5", "max_tokens": 10, "messages": HI}

    assert (await world.http.post(path, json=body)).status_code == 200


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/v1/messages", "/v1/route", "/v1/messages/count_tokens"]
)
async def test_unknown_names_are_rejected_where_the_operator_wants_it(tmp_path: Path, path: str) -> None:
    async with opened(tmp_path, unknown_models="reject") as world:
        body = {"model": "claude-opus-5-5", "max_tokens": 10, "messages": HI}
        response = await world.http.post(path, json=body)

    assert response.status_code == 404
    assert "model 'claude-opus-5-5' does not exist" in response.json()["error"]["message"]


async def test_an_unknown_name_is_rejected_with_the_name_that_was_probably_meant(world: World) -> None:
    message = error_of(await world.ask(model="meduim"))["message"]

    assert message.endswith("there are: auto, small, medium, large; did you mean 'medium'?")


async def test_an_unknown_name_in_an_option_is_not_substituted(world: World) -> None:
    for option in ("models", "exclude"):
        response = await world.ask(router={option: ["gpt-9"]})
        assert (response.status_code, error_of(response)["param"]) == (404, f"router.{option}")


@pytest.mark.parametrize(
    ("name", "answered"),
    [
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("claude-haiku-4-5-latest", "claude-haiku-4-5"),
        ("anthropic/claude-haiku-4.5", "claude-haiku-4-5"),
        ("claude-haiku-4-5[1m]", "claude-haiku-4-5"),
        ("gpt-4.1", "gpt-4.1-2025-04-14"),
        ("openai/gpt-4.1", "gpt-4.1-2025-04-14"),
        ("qwen3-32b", "own"),
        ("only", "own"),
    ],
)
async def test_another_name_of_an_arm_names_the_arm(tmp_path: Path, name: str, answered: str) -> None:
    async with opened(tmp_path, [HAIKU, DATED, OWN], aliases=ALIASES) as world:
        response = await world.ask(model=name)
        listed = await world.http.get(f"/v1/models/{name}")

    assert response.headers["X-Router-Model"] == answered
    assert response.headers["X-Router-Decision"] == "pinned"
    assert SUBSTITUTED not in response.headers
    assert listed.json()["id"] == answered


async def test_an_alias_of_several_models_is_a_choice_among_them(tmp_path: Path) -> None:
    async with opened(tmp_path, [HAIKU, DATED, OWN], aliases=ALIASES) as world:
        body = {"model": "fast", "messages": HI}
        candidates = (await world.http.post("/v1/route", json=body)).json()["candidates"]
        answer = await world.ask(model="fast", request_id="r-1")
        rejected = (await world.record("r-1"))["rejected"]
        narrowed = await world.ask(model="fast", router={"exclude": ["own"]})
        nothing = await world.ask(model="fast", router={"models": ["gpt-4.1-2025-04-14"]})
        in_option = await world.weigh("Hi", exclude=["fast"])

    assert {candidate["model"] for candidate in candidates} == {"claude-haiku-4-5", "own"}
    assert answer.headers["X-Router-Decision"] in {"exploit", "explore"}
    assert rejected == [
        {
            "model": "gpt-4.1-2025-04-14",
            "reason": "not among the models that the requested name stands for",
        }
    ]
    assert narrowed.headers["X-Router-Model"] == "claude-haiku-4-5"
    assert error_of(nothing)["code"] == "no_eligible_model"
    assert set(in_option) == {"gpt-4.1-2025-04-14"}


async def test_an_alias_of_auto_leaves_every_model(tmp_path: Path) -> None:
    async with opened(tmp_path, [HAIKU, DATED, OWN], aliases=ALIASES) as world:
        body = {"model": "sonnet", "messages": HI}
        route = (await world.http.post("/v1/route", json=body)).json()

    assert len(route["candidates"]) == 3
    assert route["substituted_model"] is None


async def test_two_arms_of_one_model_are_a_choice_between_them(tmp_path: Path) -> None:
    here, there = (
        Arm(name, "openai", "openai/gpt-4.1", base_url="http://127.0.0.1:9/v1") for name in ("here", "there")
    )
    async with opened(tmp_path, [here, there, HAIKU]) as world:
        route = await world.http.post("/v1/route", json={"model": "gpt-4.1-2025-04-14", "messages": HI})

    assert {candidate["model"] for candidate in route.json()["candidates"]} == {"here", "there"}


@pytest.mark.parametrize("prefix", ["", "/v1"])
@pytest.mark.parametrize("headers", [{}, {"anthropic-version": "2023-06-01"}])
async def test_the_names_that_clients_accept_are_listed_in_both_dialects(
    tmp_path: Path, prefix: str, headers: dict[str, str]
) -> None:
    async with opened(tmp_path, [HAIKU, OWN], aliases={"fast": ["own"]}) as world:
        listed = (await world.http.get(f"{prefix}/models?limit=1000", headers=headers)).json()
        ids = [model["id"] for model in listed["data"]]
        found = [
            (await world.http.get(f"{prefix}/models/{name}", headers=headers)).json()
            for name in ("claude-router", "fast", "claude-haiku-4-5-20251001")
        ]

    assert ids[:5] == ["auto", "claude-router", "fast", "claude-haiku-4-5", "own"]
    assert [model["id"] for model in found] == ["claude-router", "own", "claude-haiku-4-5"]
    assert {model.get("type") for model in found} == ({"model"} if headers else {None})


async def test_a_model_that_the_router_would_stand_in_for_is_shown_as_such(world: World) -> None:
    shown = await world.http.get("/v1/models/gpt-9")

    assert (shown.status_code, shown.json()["id"]) == (200, "gpt-9")
    assert shown.headers[SUBSTITUTED] == "gpt-9"


async def test_the_default_alias_can_be_removed_or_given_another_meaning(tmp_path: Path) -> None:
    async with opened(tmp_path, aliases={"claude-router": None}, unknown_models="reject") as world:
        assert (await world.ask(model="claude-router")).status_code == 404
    async with opened(tmp_path, aliases={"claude-router": "large"}) as world:
        assert (await world.ask(model="claude-router")).headers["X-Router-Model"] == "large"


async def test_a_model_may_have_the_name_of_the_default_alias(tmp_path: Path) -> None:
    async with opened(tmp_path, [arm("claude-router", "1.00"), OWN]) as world:
        assert (await world.ask(model="claude-router")).headers["X-Router-Decision"] == "pinned"


async def test_a_retired_model_is_reported_under_its_name_and_replaced_under_another(tmp_path: Path) -> None:
    async with opened(tmp_path, [OWN, HAIKU], aliases={"only": "claude-haiku-4-5"}) as world:
        await world.http.delete("/admin/models/claude-haiku-4-5")
        retired = [await world.ask(model=name) for name in ("claude-haiku-4-5", "only")]
        other = await world.ask(model="claude-haiku-4-5-20251001")

    assert [error_of(response)["message"] for response in retired] == [
        "model 'claude-haiku-4-5' is retired"
    ] * 2
    assert other.headers[SUBSTITUTED] == "claude-haiku-4-5-20251001"


async def test_a_retry_of_a_substituted_request_is_told_again(world: World) -> None:
    first = await world.ask(model="gpt-9", request_id="r-1")
    again = await world.ask(model="gpt-9", request_id="r-1")

    assert again.headers[SUBSTITUTED] == "gpt-9"
    assert again.headers["X-Router-Decision-Id"] == first.headers["X-Router-Decision-Id"]


async def test_an_added_model_takes_no_alias(world: World) -> None:
    body = {"id": "claude-router", "provider": "simulator", "model": "sim-small"}

    assert (await world.http.post("/admin/models", json=body)).status_code == 409
