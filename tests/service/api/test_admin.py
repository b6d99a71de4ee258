from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import iter_route_contexts

from service.app import create_app
from service.domain.basics import Json
from service.domain.registration import ArmRegistration
from service.errors import ProviderBroken
from service.settings.settings import Settings
from tests.fakes import FakeStore, Reply
from tests.service.world import World, arm, error_of, opened

KEY = "a key of the operator"
NEW: Json = {
    "id": "new",
    "provider": "openai",
    "base_url": "http://127.0.0.1:9/v1",
    "model": "upstream-new",
    "api_key_env": "NEW_API_KEY",
    "aliases": ["fresh"],
    "price": {"input": 1, "output": 4},
}
SHADOW = {"share": 1.0, "usd_per_day": 1}


def new(**changes: object) -> Json:
    return {**NEW, **changes}


async def add(world: World, **changes: object) -> Json:
    response = await world.http.post("/admin/models", json=new(**changes))
    assert response.status_code == 201, response.text
    added: Json = response.json()
    return added


async def change(world: World, model_id: str, **changes: object) -> httpx.Response:
    return await world.http.patch(f"/admin/models/{model_id}", json=changes)


async def listed(world: World) -> dict[str, Json]:
    return {model["id"]: model for model in (await world.http.get("/admin/models")).json()["data"]}


async def rejected(world: World, request_id: str) -> dict[str, str]:
    return {arm["model"]: arm["reason"] for arm in (await world.record(request_id))["rejected"]}


def known_names(response: httpx.Response) -> set[str]:
    return {model["id"] for model in response.json()["data"]}


# --- the list


async def test_every_model_is_listed_with_its_state_price_and_evidence(world: World) -> None:
    await world.ask("Hi", request_id="r1", model="small")
    await world.rate("r1", 0.8)

    small = (await listed(world))["small"]

    assert (small["state"], small["origin"]) == ("active", "configured")
    assert small["price"] == {"input": 0.1, "output": 0.4, "cached_input": None, "cache_write": None}
    assert (small["evidence"]["n_rated"], small["evidence"]["mean_reward"]) == (1, 0.8)
    assert small["evidence"]["n_outcomes"] == 1
    assert small["shadow"] is None
    assert small["prior"] == {"mean": pytest.approx(0.9), "mass": 10.0, "source": None}


async def test_models_show_where_their_priors_come_from(tmp_path: Path) -> None:
    arms = [
        arm("good", "10", prior_quality=0.9, prior_source="configured"),
        arm("bad", "1", prior_quality=0.5, prior_source="2026-10-02"),
        arm("local", "1"),
        replace(arm("obscure", "1"), price=None),
    ]
    async with opened(tmp_path, arms) as world:
        await add(world)
        models = {model_id: model["prior"] for model_id, model in (await listed(world)).items()}
        health = (await world.http.get("/health")).json()

    assert models["good"] == {"mean": 0.9, "mass": 20.0, "source": "configured"}
    assert models["bad"] == {"mean": pytest.approx(0.55), "mass": 20.0, "source": "2026-10-02"}
    assert models["local"]["mean"] == pytest.approx(0.55)
    assert models["obscure"]["mean"] == pytest.approx((0.9 + 0.55) / 2)
    assert models["new"] == {"mean": pytest.approx(0.9), "mass": 5.0, "source": "best known model"}
    assert health["prior_sources"] == {
        "good": "configured",
        "bad": "2026-10-02",
        "local": "price class",
        "obscure": "mean of known models",
        "new": "best known model",
    }


async def test_a_model_that_does_not_answer_clients_has_no_prior(world: World) -> None:
    added = await add(world, shadow={"share": 0.5, "usd_per_day": 1})

    assert added["prior"] is None


async def test_the_admin_api_answers_503_while_the_store_is_down(world: World) -> None:
    world.store.is_down = True

    for response in (await world.http.get("/admin/models"), await change(world, "large", state="draining")):
        assert response.status_code == 503


# --- adding


async def test_an_added_model_is_a_newcomer_that_answers_under_its_names(world: World) -> None:
    added = await add(world, reason="cheaper")

    assert (added["state"], added["origin"], added["is_newcomer"]) == ("active", "runtime", True)
    assert (added["reason"], added["aliases"]) == ("cheaper", ["fresh"])
    assert "new" in known_names(await world.http.get("/v1/models"))
    for name in ("new", "fresh"):
        assert (await world.ask(model=name)).json()["model"] == "new"


async def test_a_newcomers_expected_reward_is_above_that_of_models_without_evidence(world: World) -> None:
    await add(world)

    body = {"messages": [{"role": "user", "content": "Hi"}]}
    candidates = (await world.http.post("/v1/route", json=body)).json()["candidates"]
    means = {c["model"]: c["posterior"]["mean"] for c in candidates}

    assert means["new"] == pytest.approx(0.97)
    assert max(means["small"], means["medium"], means["large"]) < 0.97


@pytest.mark.parametrize(
    ("changes", "param"),
    [({"id": "small"}, "id"), ({"id": "mini"}, "id"), ({"aliases": ["large"]}, "aliases")],
    ids=["an id", "an alias as id", "an id as alias"],
)
async def test_a_name_that_exists_is_a_conflict(world: World, changes: Json, param: str) -> None:
    response = await world.http.post("/admin/models", json=new(**changes))

    assert response.status_code == 409
    assert (error_of(response)["code"], error_of(response)["param"]) == ("model_conflict", param)


async def test_a_retired_model_keeps_its_name(world: World) -> None:
    await add(world)
    await world.http.delete("/admin/models/new")

    again = await world.http.post("/admin/models", json=NEW)

    assert again.status_code == 409
    assert "PATCH" in error_of(again)["message"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (new(id="auto"), "aliases"),
        (new(aliases=["new"]), "aliases"),
        (new(id="no spaces"), "id"),
        (new(price={"input": -1, "output": 1}), "price.input"),
        (new(api_key="sk-verysecret"), "api_key"),
        (new(api_key_env="DATABASE_URL"), "api_key_env"),
        (new(api_key_env="HOME"), "api_key_env"),
        (new(api_key_env="ADMIN_KEY"), "api_key_env"),
        (new(api_key_env="QDRANT_API_KEY"), "api_key_env"),
        (new(api_key_env="EMBEDDING_API_KEY"), "api_key_env"),
        (new(api_key_env="ABSENT_API_KEY"), "api_key_env"),
        (new(base_url="https://me:verysecret@host/v1"), "base_url"),
        (new(base_url="ftp://host"), "base_url"),
        (new(shadow={"share": 2, "usd_per_day": 1}), "shadow.share"),
        (new(shadow={"share": True, "usd_per_day": 1}), "shadow.share"),
        (new(shadow={"share": 0.5}), "shadow.usd_per_day"),
        (new(model="a\0b"), None),
        ([], None),
    ],
)
async def test_a_model_that_breaks_a_rule_is_refused_by_the_name_of_the_field(
    world: World, body: object, param: str | None
) -> None:
    response = await world.http.post("/admin/models", json=body)

    assert response.status_code == 400
    assert error_of(response)["param"] == param
    assert "verysecret" not in response.text
    assert "new" not in await listed(world)


# --- keys


@pytest.mark.parametrize(
    ("changes", "param", "rule"),
    [
        ({"base_url": "http://evil.example/v1"}, "base_url", "http://127.0.0.1:9"),
        ({"base_url": "https://127.0.0.1:9/v1"}, "base_url", "http://127.0.0.1:9"),
        ({"base_url": "http://127.0.0.1:99/v1"}, "base_url", "http://127.0.0.1:9"),
        ({"api_key_env": "OTHER_API_KEY"}, "api_key_env", "NEW_API_KEY"),
        ({"provider": "litellm", "model": "openai/x"}, "base_url", "http://127.0.0.1:9"),
        ({"provider": "litellm", "model": "openai/x", "api_key_env": None}, "api_key_env", "openai"),
        ({"provider": "anthropic", "base_url": None}, "model", "http://127.0.0.1:9"),
    ],
)
async def test_an_added_model_sends_a_key_only_where_the_configuration_sends_it(
    world: World, changes: Json, param: str, rule: str
) -> None:
    response = await world.http.post("/admin/models", json=new(**changes))

    assert response.status_code == 400
    assert error_of(response)["param"] == param
    assert rule in error_of(response)["message"]
    assert "new" not in await listed(world)


async def test_a_stored_model_that_would_send_a_key_elsewhere_is_retired(tmp_path: Path) -> None:
    store, moment = FakeStore(), datetime(2026, 11, 20, tzinfo=UTC)
    entry = new(base_url="http://evil.example/v1", price={"input": "0", "output": "0"})
    store.registrations["new"] = ArmRegistration("new", moment, moment, entry=entry)

    async with opened(tmp_path, store=store) as world:
        asked, shown = await world.ask(model="new"), (await listed(world))["new"]
        back = await change(world, "new", state="active")
        kept = await change(world, "new", state="retired")
        await world.ask()

    assert asked.status_code == 404
    assert shown["state"] == "retired"
    assert shown["reason"].startswith("base_url: NEW_API_KEY may go only where")
    assert (back.status_code, error_of(back)["param"]) == (400, "base_url")
    assert kept.status_code == 200
    assert "new" not in world.model_client.called


async def test_the_login_in_a_configured_url_is_not_shown(tmp_path: Path) -> None:
    from tests.service.world import SMALL

    arm = replace(SMALL, base_url="https://me:verysecret@host/v1")
    async with opened(tmp_path, [arm]) as world:
        response = await world.http.get("/admin/models")

    assert response.json()["data"][0]["base_url"] == "https://host/v1"


# --- draining and retiring


async def test_a_draining_model_answers_only_requests_that_name_it(world: World) -> None:
    drained = await change(world, "medium", state="draining", reason="quota")

    await world.ask(request_id="r1")
    named = await world.ask(model="medium")

    assert (drained.json()["state"], drained.json()["reason"]) == ("draining", "quota")
    assert "medium" not in await world.weigh("Hi")
    assert (await rejected(world, "r1"))["medium"] == "is draining"
    assert named.json()["model"] == "medium"


async def test_a_change_without_a_reason_keeps_the_earlier_reason(world: World) -> None:
    await change(world, "medium", state="draining", reason="quota")

    repriced = await change(world, "medium", price={"input": 1, "output": 2})

    assert (repriced.json()["state"], repriced.json()["reason"]) == ("draining", "quota")


async def test_a_draining_model_answers_the_retry_of_its_own_request(world: World) -> None:
    world.model_client.will("medium", Reply(error=ProviderBroken("not yet", status=500)))
    await world.ask(request_id="r1", model="medium")
    await change(world, "medium", state="draining")

    again = await world.ask(request_id="r1", model="medium")

    assert again.json()["model"] == "medium"


async def test_a_retired_model_does_not_exist_for_clients(world: World) -> None:
    retired = await world.http.delete("/admin/models/medium")

    await world.ask(request_id="r1")
    named = await world.ask(model="medium")

    assert (retired.status_code, retired.json()["state"]) == (200, "retired")
    assert named.status_code == 404
    assert error_of(named)["code"] == "model_not_found"
    assert "retired" in error_of(named)["message"]
    assert (await rejected(world, "r1"))["medium"] == "is retired"
    assert "medium" not in known_names(await world.http.get("/v1/models"))
    assert "medium" not in (await world.http.get("/health")).json()["models"]
    assert (await listed(world))["medium"]["state"] == "retired"


async def test_a_request_that_allows_a_retired_model_is_answered_by_another_allowed_model(
    world: World,
) -> None:
    await world.http.delete("/admin/models/medium")

    answer = await world.ask(router={"models": ["medium", "large"]})

    assert answer.json()["model"] == "large"


async def test_a_retired_model_comes_back(world: World) -> None:
    await world.http.delete("/admin/models/medium")

    back = await change(world, "medium", state="active")

    assert back.json()["state"] == "active"
    assert "medium" in await world.weigh("Hi")


async def test_feedback_on_a_retired_model_still_counts(world: World) -> None:
    await world.ask(request_id="r1", model="medium")
    await world.http.delete("/admin/models/medium")

    rated = await world.rate("r1", 0.5)

    assert rated.json()["status"] == "applied"
    assert (await listed(world))["medium"]["evidence"]["n_rated"] == 1


@pytest.mark.parametrize("state", ["draining", "retired", "shadow"])
async def test_the_default_model_stays_active(world: World, state: str) -> None:
    response = await change(world, "small", state=state, shadow=SHADOW)

    assert response.status_code == 409
    assert "DEFAULT_MODEL" in error_of(response)["message"]
    assert "small" in await world.weigh("Hi")


async def test_the_last_active_model_stays_active(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        world.parts.catalog.default_arm_id = "of no arm here"
        for model_id in ("small", "medium"):
            assert (await change(world, model_id, state="draining")).status_code == 200

        last = await world.http.delete("/admin/models/large")

        assert last.status_code == 409
        assert "last" in error_of(last)["message"]


async def test_an_unknown_model_cannot_be_changed(world: World) -> None:
    for response in (
        await change(world, "unknown", state="draining"),
        await world.http.delete("/admin/models/unknown"),
    ):
        assert response.status_code == 404


@pytest.mark.parametrize(
    "body", [{}, {"reason": "none"}, {"state": "gone"}, {"price": {"input": 1}}, {"colour": "red"}]
)
async def test_an_empty_or_invalid_change_is_rejected(world: World, body: Json) -> None:
    assert (await change(world, "large", **body)).status_code == 400


# --- prices


async def test_expected_costs_follow_a_new_price_at_once(world: World) -> None:
    for i in range(20):
        await world.ask(f"question {i}", request_id=f"r{i}", model="large")
        await world.rate(f"r{i}", 0.5)
    world.clock.advance(1)
    before = await _expected_usd(world, "large")

    repriced = await change(world, "large", price={"input": 20, "output": 80})

    assert repriced.json()["price"] == {"input": 20, "output": 80, "cached_input": None, "cache_write": None}
    # Dollars of neighbours are rounded again in every price (`service.domain.precision`).
    assert await _expected_usd(world, "large") == pytest.approx(10 * before, rel=5e-4)
    assert (await world.record("r0"))["outcome"]["cost_usd"] == pytest.approx(0.0006)  # as it was billed
    await world.ask(request_id="later", model="large")
    assert (await world.record("later"))["outcome"]["cost_usd"] == pytest.approx(0.006)


async def test_a_new_price_of_a_free_model_is_applied_to_typical_requests(world: World) -> None:
    await add(world, price={"input": 0, "output": 0})
    for i in range(50):
        await world.ask(request_id=f"r{i}", model="new")

    repriced = await change(world, "new", price={"input": 10, "output": 10})

    assert repriced.json()["evidence"]["mean_cost_usd"] == pytest.approx(0.013)


async def test_a_new_price_re_prices_the_window_of_the_pacer(tmp_path: Path) -> None:
    async with opened(tmp_path, budget_usd_per_request=0.001) as world:
        await world.ask(request_id="r1")
        [spend] = world.parts.router.pacer.window

        await change(world, "large", price={"input": 20, "output": 80})

        [again] = world.parts.router.pacer.window
        factors = dict(zip(spend.arms, again.dollars / spend.dollars, strict=True))
        assert factors == pytest.approx({"small": 1.0, "medium": 1.0, "large": 10.0})


async def _expected_usd(world: World, arm_id: str) -> float:
    body = {"messages": [{"role": "user", "content": "question 1"}]}
    candidates: list[Json] = (await world.http.post("/v1/route", json=body)).json()["candidates"]
    [candidate] = [c for c in candidates if c["model"] == arm_id]
    return float(candidate["expected_cost_usd"])


# --- shadow


async def test_a_model_in_shadow_answers_unseen(world: World) -> None:
    await add(world, shadow=SHADOW)

    answer = await world.ask(request_id="r1")
    record = await world.record("r1")

    assert answer.json()["model"] != "new"
    assert record["model"] != "new"
    [shadowed] = record["shadow"]
    assert (shadowed["model"], shadowed["status"]) == ("new", "ok")
    assert shadowed["cost_usd"] == pytest.approx(0.0003)
    assert {r["model"] for r in record["rejected"]} == {"new"}
    model = (await listed(world))["new"]
    assert (model["state"], model["shadow"]["calls"], model["shadow"]["errors"]) == ("shadow", 1, 0)
    assert (model["evidence"]["n_outcomes"], model["evidence"]["n_rated"]) == (1, 0)


async def test_a_stream_is_answered_in_shadow_too(world: World) -> None:
    await add(world, shadow=SHADOW)

    await world.ask(request_id="r1", stream=True)

    assert len((await world.record("r1"))["shadow"]) == 1


async def test_a_model_in_shadow_is_called_in_the_clients_dialect(world: World) -> None:
    await add(world, shadow=SHADOW)
    body = {"max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}], "a_field_of_tomorrow": 1}

    await world.http.post("/v1/messages", json=body)
    await world.background.drain(5.0)

    assert "new" in world.model_client.called
    assert [native and native.body for native in world.model_client.natives] == [body, body]


async def test_a_model_in_shadow_neither_delays_nor_fails_a_request(world: World) -> None:
    import asyncio

    done = asyncio.Event()
    await add(world, shadow=SHADOW)
    world.model_client.will("new", Reply(until=done, error=ProviderBroken("down", status=500)))

    answer = await world.ask(request_id="r1")

    assert answer.status_code == 200
    assert (await world.http.get("/requests/r1")).json()["shadow"] == []
    done.set()
    [shadowed] = (await world.record("r1"))["shadow"]
    assert (shadowed["status"], shadowed["error_type"]) == ("failed", "ProviderBroken")
    assert (await listed(world))["new"]["shadow"]["errors"] == 1


@pytest.mark.parametrize(
    "body",
    [{"model": "large"}, {"router": {"learn": False}}, {"router": {"models": ["small"]}}],
    ids=["pinned", "not learned from", "not allowed by the client"],
)
async def test_a_request_that_is_not_for_it_is_not_answered_in_shadow(world: World, body: Json) -> None:
    await add(world, shadow=SHADOW)

    await world.ask(request_id="r1", **body)

    assert (await world.record("r1"))["shadow"] == []


async def test_a_request_cannot_name_a_model_in_shadow(world: World) -> None:
    await add(world, shadow=SHADOW)

    named = await world.ask(model="new")

    assert named.status_code == 404
    assert "shadow" in error_of(named)["message"]


async def test_only_its_share_is_answered_in_shadow(world: World) -> None:
    await add(world, shadow={"share": 0.3, "usd_per_day": 1000})

    for i in range(200):
        await world.ask(request_id=f"r{i}")
        await world.background.drain(5.0)

    n = (await listed(world))["new"]["shadow"]["calls"]
    assert abs(n - 60) < 4 * (200 * 0.3 * 0.7) ** 0.5


async def test_the_daily_budget_of_a_model_in_shadow_resets_on_the_next_day(world: World) -> None:
    await add(world, shadow={"share": 1, "usd_per_day": 0.00215})

    for i in range(10):
        await world.ask("Hi", request_id=f"r{i}")
        await world.background.drain(5.0)
    first = (await listed(world))["new"]["shadow"]
    world.clock.advance(86_400)
    await world.ask("Hi", request_id="tomorrow")
    await world.background.drain(5.0)

    # A call costs 0.0003 and reserves 0.0012 before.
    assert (first["calls"], first["cost_usd"]) == (4, pytest.approx(0.0012))
    assert (await listed(world))["new"]["shadow"]["calls"] == 5


async def test_few_calls_in_shadow_are_under_way_at_once(world: World) -> None:
    import asyncio

    from service.completion.shadow import MAX_UNDER_WAY

    done = asyncio.Event()
    await add(world, shadow=SHADOW)
    world.model_client.will("new", *[Reply(until=done)] * 20)

    for i in range(20):
        await world.ask(request_id=f"r{i}")
    done.set()
    await world.background.drain(5.0)

    assert world.model_client.called.count("new") == MAX_UNDER_WAY


async def test_without_the_store_no_call_in_shadow_is_made(world: World) -> None:
    await add(world, shadow=SHADOW)
    world.store.is_down = True

    answer = await world.ask(request_id="r1")
    await world.background.drain(5.0)

    assert answer.status_code == 200
    assert "new" not in world.model_client.called


async def test_a_model_leaves_the_shadow_and_keeps_what_was_learned(world: World) -> None:
    await add(world, shadow=SHADOW)
    await world.ask(request_id="r1")
    await world.background.drain(5.0)

    promoted = (await change(world, "new", state="active")).json()

    assert (promoted["state"], promoted["evidence"]["n_outcomes"]) == ("active", 1)
    assert "new" in await world.weigh("Hi")


async def test_a_configured_model_needs_a_share_and_a_cap_to_go_into_shadow(world: World) -> None:
    refused = await change(world, "large", state="shadow")
    changed = await change(world, "large", state="shadow", shadow=SHADOW)

    assert (refused.status_code, error_of(refused)["param"]) == (400, "shadow")
    assert changed.json()["state"] == "shadow"


# --- access


@pytest.fixture
async def locked(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path, admin_key=KEY) as world:
        yield world


def admin_routes() -> Iterator[tuple[str, str]]:
    for route in iter_route_contexts(create_app(Settings.model_validate({}), {}).routes):
        if str(route.path).startswith("/admin"):
            for method in sorted(route.methods or set()):
                yield method, str(route.path).replace("{model_id:path}", "large")


@pytest.mark.parametrize(("method", "path"), list(admin_routes()))
@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": f"Bearer {KEY}x"}, {"x-api-key": "é"}, {"Authorization": f"Basic {KEY}"}],
    ids=["none", "wrong", "not ASCII", "another scheme"],
)
async def test_every_admin_route_refuses_without_the_key(
    locked: World, method: str, path: str, headers: Any
) -> None:
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    response = await locked.http.request(method, path, json={"state": "retired"}, headers=encoded)

    assert response.status_code == 401
    assert error_of(response)["code"] == "invalid_api_key"
    assert KEY not in response.text
    assert locked.parts.catalog.aside == ()


@pytest.mark.parametrize("headers", [{"Authorization": f"Bearer {KEY}"}, {"X-Api-Key": KEY}])
async def test_the_key_opens(locked: World, headers: dict[str, str]) -> None:
    assert (await locked.http.get("/admin/models", headers=headers)).status_code == 200


@pytest.mark.parametrize(("method", "path"), list(admin_routes()))
async def test_without_a_key_the_admin_is_closed_beyond_loopback(
    tmp_path: Path, method: str, path: str
) -> None:
    async with opened(tmp_path, host="0.0.0.0", allow_anonymous=True) as world:
        response = await world.http.request(method, path, json={"state": "retired"})

    assert response.status_code == 403
    assert error_of(response)["code"] == "admin_closed"
    assert "ADMIN_KEY" in error_of(response)["message"]


async def test_the_admin_api_is_closed_to_the_pages_of_everybody(tmp_path: Path) -> None:
    async with opened(tmp_path, cors_origins="*") as world:
        response = await world.http.post("/admin/models", json=NEW)
        answered = await world.ask()

    assert response.status_code == 403
    assert error_of(response)["code"] == "admin_closed"
    assert "CORS_ORIGINS" in error_of(response)["message"]
    assert answered.status_code == 200


def test_there_are_admin_routes_to_walk() -> None:
    assert len(list(admin_routes())) >= 4
