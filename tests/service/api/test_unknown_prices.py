"""A model whose price nobody knows, from the choice to the statistics."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from service.domain.answer import Usage
from service.domain.arm import FREE, Arm, Price
from service.domain.basics import Json
from service.domain.price_list import ListedModel
from service.errors import ProviderBroken, ProviderTimeout
from tests.fakes import Reply
from tests.service.world import LARGE, SMALL, World, error_of, opened

UNPRICED = Arm("unpriced", "openai", "upstream-unpriced", base_url="http://127.0.0.1:9/v1")
LOCAL = Arm("local", "openai", "upstream-local", base_url="http://127.0.0.1:9/v1", price=FREE)
STATED = Reply(usage=Usage(100, 0, 50, stated_cost_usd=Decimal("0.0321")))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path, (SMALL, LARGE, UNPRICED)) as world:
        yield world


class FakePriceLists:
    """PriceLists of one server; `models=None`: it does not answer."""

    def __init__(self, models: Mapping[str, ListedModel] | None) -> None:
        self.models = models
        self.n_reads = 0

    async def read(self, arm: Arm) -> Mapping[str, ListedModel]:
        self.n_reads += 1
        if self.models is None:
            raise ProviderTimeout("no answer within 5 s")
        return self.models


async def stats(world: World) -> dict[str, Any]:
    await world.background.drain(5.0)
    until = (world.clock() + timedelta(hours=1)).isoformat()
    response = await world.http.get("/v1/stats", params={"until": until})
    found: dict[str, Any] = response.json()
    return found


async def model(world: World, name: str) -> Json:
    listed = (await world.http.get("/admin/models")).json()["data"]
    found: Json = next(entry for entry in listed if entry["id"] == name)
    return found


async def test_it_is_weighed_as_if_it_cost_as_much_as_the_most_expensive(world: World) -> None:
    response = await world.http.post(
        "/v1/route", json={"messages": [{"role": "user", "content": "Hi there"}]}
    )

    expected = {c["model"]: c["expected_cost_usd"] for c in response.json()["candidates"]}
    assert expected["unpriced"] == expected["large"] > expected["small"] > 0


async def test_it_does_not_win_by_its_cost(tmp_path: Path) -> None:
    async with opened(tmp_path, (SMALL, LARGE, UNPRICED), cost_weight=-5.0) as world:
        probabilities = await world.weigh("Hi there")

    assert probabilities["small"] > probabilities["unpriced"]
    assert probabilities["unpriced"] == pytest.approx(probabilities["large"], abs=0.01)


async def test_its_cost_is_shown_as_unknown_and_never_as_zero(world: World) -> None:
    await world.ask(request_id="r-1", model="unpriced")

    record = await world.record("r-1")
    numbers = (await world.http.get("/metrics/r-1")).json()

    [attempt] = record["attempts"]
    assert (attempt["cost_usd"], attempt["cost_source"]) == (None, "unknown")
    assert record["outcome"]["cost_usd"] is None
    assert numbers["cost_usd"] is None
    metrics = (await world.http.get("/metrics")).text
    assert 'router_calls_of_unknown_cost_total{model="unpriced"} 1.0' in metrics
    assert 'router_cost_usd_total{model="unpriced"}' not in metrics


async def test_a_cost_that_the_provider_states_is_its_cost(world: World) -> None:
    world.model_client.will("unpriced", STATED)
    world.model_client.will("small", STATED)
    await world.ask(request_id="r-1", model="unpriced")
    await world.ask(request_id="r-2", model="small")

    for request_id in ("r-1", "r-2"):
        [attempt] = (await world.record(request_id))["attempts"]
        assert (attempt["cost_usd"], attempt["cost_source"]) == (0.0321, "provider")
    found = await stats(world)
    assert found["total"]["cost_usd"] == 0.0642
    assert found["total"]["requests_of_unknown_cost"] == 0


async def test_a_stated_cost_of_a_stream_counts_too(world: World) -> None:
    world.model_client.will("unpriced", STATED)
    await world.ask(request_id="r-1", model="unpriced", stream=True)

    [attempt] = (await world.record("r-1"))["attempts"]
    assert (attempt["cost_usd"], attempt["cost_source"]) == (0.0321, "provider")


async def test_a_stated_zero_is_no_statement(world: World) -> None:
    zero = Reply(usage=Usage(100, 0, 50, stated_cost_usd=Decimal(0)))
    world.model_client.will("unpriced", zero)
    world.model_client.will("small", zero)
    await world.ask(request_id="r-1", model="unpriced")
    await world.ask(request_id="r-2", model="small")

    [unpriced] = (await world.record("r-1"))["attempts"]
    [small] = (await world.record("r-2"))["attempts"]
    assert (unpriced["cost_usd"], unpriced["cost_source"]) == (None, "unknown")
    assert small["cost_source"] == "price"
    assert small["cost_usd"] > 0


async def test_a_call_that_used_nothing_costs_nothing_at_any_price(world: World) -> None:
    world.model_client.will("unpriced", Reply(error=ProviderBroken("gone", status=500)))
    await world.ask(request_id="r-1", router={"models": ["unpriced", "small"]})
    for _ in range(20):  # until it was tried first
        if len((record := await world.record("r-1"))["attempts"]) == 2:
            break
        await world.ask(request_id="r-1", router={"models": ["unpriced", "small"]})

    for attempt in record["attempts"]:
        assert attempt["cost_usd"] is not None


async def test_the_statistics_count_what_is_not_known(world: World) -> None:
    await world.ask(model="unpriced")
    await world.ask(model="small")
    await world.ask(model="small")

    found = await stats(world)

    by_model = {entry["model"]: entry for entry in found["per_model"]}
    assert by_model["unpriced"]["cost_usd"] is None
    assert by_model["unpriced"]["requests_of_unknown_cost"] == 1
    assert by_model["small"]["requests_of_unknown_cost"] == 0
    assert found["total"]["cost_usd"] == by_model["small"]["cost_usd"] > 0
    assert found["total"]["requests_of_unknown_cost"] == 1


async def test_savings_leave_out_requests_of_unknown_cost_and_say_how_many(world: World) -> None:
    for name in ("unpriced", "small", "small"):
        await world.ask(router={"models": [name]})

    assumed = (await stats(world))["savings"]["assumed"]

    assert (assumed["requests"], assumed["requests_of_unknown_cost"]) == (2, 1)
    assert assumed["saved_usd"] == 0  # the default model is `small`
    assert assumed["reason"] is None


async def test_there_are_no_savings_against_a_model_of_unknown_price(world: World) -> None:
    await world.ask()
    until = (world.clock() + timedelta(hours=1)).isoformat()

    response = await world.http.get("/v1/stats", params={"until": until, "baseline": "unpriced"})

    assumed = response.json()["savings"]["assumed"]
    assert assumed["baseline_cost_usd"] is assumed["saved_usd"] is assumed["saved_share"] is None
    assert assumed["reason"] == "the price of unpriced is not known"


async def test_no_savings_are_measured_with_a_cost_that_is_not_known(tmp_path: Path) -> None:
    async with opened(tmp_path, (UNPRICED, SMALL), holdout_share=0.5) as world:
        for _ in range(80):
            await world.ask()
        found = (await stats(world))["savings"]["measured"]

    assert found["cost_usd_per_request"]["difference"] is None
    assert "is not known" in found["cost_usd_per_request"]["reason"]


async def test_a_limit_on_the_cost_leaves_it_out(world: World) -> None:
    response = await world.http.post(
        "/v1/route",
        json={"messages": [{"role": "user", "content": "Hi"}], "router": {"max_cost_usd": 100}},
    )

    assert {c["model"] for c in response.json()["candidates"]} == {"small", "large"}
    [rejection] = response.json()["rejected"]
    assert rejection["reason"] == "its price is not known, so it may exceed max_cost_usd"


async def test_a_limit_on_the_cost_of_a_named_model_of_unknown_price_is_an_error(world: World) -> None:
    response = await world.ask(model="unpriced", router={"max_cost_usd": 100})

    assert response.status_code == 400
    assert "its price is not known" in error_of(response)["message"]


async def test_a_limit_in_an_error_is_readable(world: World) -> None:
    response = await world.ask(router={"max_cost_usd": 1e-7, "models": ["small"]})

    assert "max_cost_usd 0.0000001" in error_of(response)["message"]


async def test_health_warns_and_stays_ok(world: World) -> None:
    health = (await world.http.get("/health")).json()

    assert health["status"] == "ok"
    [warning] = health["warnings"]
    assert "the price of unpriced is not known" in warning


async def test_a_free_model_is_known_to_be_free(tmp_path: Path) -> None:
    async with opened(tmp_path, (SMALL, LOCAL)) as world:
        await world.ask(request_id="r-1", model="local")

        [attempt] = (await world.record("r-1"))["attempts"]
        assert (attempt["cost_usd"], attempt["cost_source"]) == (0, "price")
        assert (await world.http.get("/health")).json()["warnings"] == []
        assert (await stats(world))["total"]["cost_usd"] == 0


async def test_a_price_given_at_runtime_is_known_from_then_on(world: World) -> None:
    await world.ask(request_id="r-1", model="unpriced")
    assert (await model(world, "unpriced"))["price"] is None

    changed = await world.http.patch(
        "/admin/models/unpriced", json={"price": {"input": 50, "output": 60}, "reason": "the invoice"}
    )
    await world.ask(request_id="r-2", model="unpriced")

    assert changed.json()["price"]["input"] == 50
    assert (await world.http.get("/health")).json()["warnings"] == []
    assert (await world.record("r-1"))["outcome"]["cost_usd"] is None
    [attempt] = (await world.record("r-2"))["attempts"]
    assert (attempt["cost_usd"], attempt["cost_source"]) == (0.008, "price")
    evidence = (await model(world, "unpriced"))["evidence"]
    assert (evidence["n_outcomes"], evidence["n_outcomes_of_unknown_cost"]) == (2, 1)
    assert evidence["mean_cost_usd"] == 0.008


async def test_a_new_highest_price_is_the_assumed_one_at_once(world: World) -> None:
    await world.http.patch("/admin/models/small", json={"price": {"input": 500, "output": 500}})

    response = await world.http.post(
        "/v1/route", json={"messages": [{"role": "user", "content": "Hi there"}]}
    )

    expected = {c["model"]: c["expected_cost_usd"] for c in response.json()["candidates"]}
    assert expected["unpriced"] == expected["small"] > expected["large"]


async def test_free_is_a_price_at_runtime(world: World) -> None:
    changed = await world.http.patch("/admin/models/unpriced", json={"price": "free"})

    assert changed.status_code == 200
    assert (changed.json()["price"]["input"], changed.json()["price"]["output"]) == (0, 0)
    assert (await world.http.get("/health")).json()["warnings"] == []


async def test_a_model_added_without_a_price_is_of_unknown_price(world: World) -> None:
    entry = {"id": "new", "provider": "openai", "model": "home-made", "base_url": "http://127.0.0.1:9/v1"}

    added = await world.http.post("/admin/models", json=entry)
    free = await world.http.post("/admin/models", json={**entry, "id": "newer", "price": "free"})

    assert (added.status_code, added.json()["price"]) == (201, None)
    assert free.json()["price"]["input"] == 0
    assert len((await world.http.get("/health")).json()["warnings"]) == 2  # `unpriced` and `new`


async def test_with_a_budget_no_model_of_unknown_price_is_added(tmp_path: Path) -> None:
    entry = {"id": "new", "provider": "openai", "model": "home-made", "base_url": "http://127.0.0.1:9/v1"}
    async with opened(tmp_path, (SMALL, LARGE), budget_usd_per_request=0.01) as world:
        response = await world.http.post("/admin/models", json=entry)

    assert response.status_code == 400
    assert error_of(response)["param"] == "price"
    assert "price: free" in error_of(response)["message"]


async def test_what_is_not_known_teaches_nothing_about_cost(world: World) -> None:
    for _ in range(50):
        await world.ask("What is a bandit?", model="unpriced")
    await world.background.drain(5.0)

    response = await world.http.post(
        "/v1/route", json={"messages": [{"role": "user", "content": "Hi there"}]}
    )

    expected = {c["model"]: c["expected_cost_usd"] for c in response.json()["candidates"]}
    assert expected["unpriced"] == expected["large"]


async def test_a_model_added_at_runtime_gets_its_providers_price(tmp_path: Path) -> None:
    price = Price(Decimal(3), Decimal(4))
    lists = FakePriceLists({"home-made": ListedModel(price, 8_000)})
    entry = {"id": "new", "provider": "openai", "model": "home-made", "base_url": "http://127.0.0.1:9/v1"}
    async with opened(tmp_path, (SMALL,), budget_usd_per_request=0.01, price_lists=lists) as world:
        added = (await world.http.post("/admin/models", json=entry)).json()
        own_price = await world.http.post("/admin/models", json={**entry, "id": "newer", "price": "free"})
        lists.models = None
        lost = await world.http.post("/admin/models", json={**entry, "id": "newest"})

    assert (added["price"]["input"], added["price"]["output"]) == (3, 4)
    assert added["context_window"] == 8_000
    assert own_price.json()["price"]["input"] == 0
    assert lists.n_reads == 2
    assert error_of(lost)["param"] == "price"


async def test_a_budget_keeps_what_it_reserved_for_an_unknown_cost(tmp_path: Path) -> None:
    async with opened(tmp_path, (SMALL, UNPRICED), budget_usd_per_request=0.0001) as world:
        pacer = world.parts.router.pacer
        before = pacer.purse
        await world.ask(request_id="r-1", router={"models": ["unpriced"]})
        record = await world.record("r-1")

    [candidate] = record["candidates"]
    assert candidate["expected_cost_usd"] > 0
    assert pacer.purse == pytest.approx(before + 1 - candidate["expected_cost_usd"] / 0.0001)
