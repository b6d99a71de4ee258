from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.domain.answer import Usage
from service.errors import ProviderBroken
from tests.fakes import ANY, Reply
from tests.service.world import World, arm, error_of, opened


async def stats(world: World, **query: Any) -> dict[str, Any]:
    await world.background.drain(5.0)
    window = {"until": (world.clock() + timedelta(hours=1)).isoformat()} | query
    response = await world.http.get("/v1/stats", params=window)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def test_without_traffic_there_are_zeros_and_no_means(world: World) -> None:
    found = await stats(world)

    assert found["total"] == {
        "requests": 0,
        "ok": 0,
        "failed": 0,
        "cancelled": 0,
        "cost_usd": 0.0,
        "requests_of_unknown_cost": 0,
        "prompt_tokens": 0,
        "cached_tokens": 0,
        "cache_write_tokens": 0,
        "completion_tokens": 0,
        "reasoning_tokens": 0,
        "mean_latency_ms": None,
        "mean_ttft_ms": None,
        "rated": 0,
        "mean_reward": None,
    }
    assert found["per_decision"] == found["per_model"] == found["per_day"] == []


async def test_traffic_is_counted_in_total_and_by_decision_model_and_day(world: World) -> None:
    world.model_client.will("large", Reply(takes_s=0.5))
    await world.ask(request_id="r-1", model="large")
    await world.ask(request_id="r-2", model="small")
    world.clock.advance(86_400)
    world.model_client.will("small", Reply(error=ProviderBroken("gone", status=404)))
    await world.ask(request_id="r-3", model="small")
    await world.ask(request_id="r-4")
    await world.rate("r-1", 0.5)
    await world.rate("r-2", 1.0)

    found = await stats(world)

    whole = found["total"]
    assert (whole["requests"], whole["ok"], whole["failed"], whole["cancelled"]) == (4, 3, 1, 0)
    assert (whole["prompt_tokens"], whole["completion_tokens"]) == (300, 150)
    assert (whole["rated"], whole["mean_reward"]) == (2, 0.75)
    assert whole["mean_latency_ms"] == pytest.approx(500 / 3, abs=0.001)
    days = {day["day"]: (day["requests"], day["failed"]) for day in found["per_day"]}
    assert days == {"2026-11-20": (2, 0), "2026-11-21": (2, 1)}
    pinned = next(row for row in found["per_decision"] if row["decision"] == "pinned")
    assert (pinned["requests"], pinned["rated"]) == (3, 2)
    large = next(row for row in found["per_model"] if row["model"] == "large")
    assert large["cost_usd"] >= 0.0006
    for name in ("per_decision", "per_model", "per_day"):
        assert sum(row["cost_usd"] for row in found[name]) == pytest.approx(whole["cost_usd"])


async def test_savings_are_assumed_for_what_the_router_chose_against_any_model(world: World) -> None:
    await world.ask(request_id="r-1", router={"models": ["small"]})
    await world.ask(request_id="r-2", model="large")

    expensive = (await stats(world, baseline="big"))["savings"]["assumed"]
    default = (await stats(world))["savings"]["assumed"]

    assert expensive == {
        "baseline": "large",
        "requests": 1,
        "requests_of_unknown_cost": 0,
        "cost_usd": 0.00003,
        "baseline_cost_usd": 0.0006,
        "saved_usd": 0.00057,
        "saved_share": 0.95,
        "reason": None,
    }
    assert (default["baseline"], default["saved_usd"]) == ("small", 0.0)


async def test_without_a_holdout_no_savings_are_measured_and_the_reason_is_given(world: World) -> None:
    await world.ask()

    found = (await stats(world))["savings"]["measured"]

    nothing = {
        "difference": None,
        "low": None,
        "high": None,
        "reason": "HOLDOUT_SHARE is 0: no request was held out",
    }
    assert found["cost_usd_per_request"] == found["reward"] == nothing
    assert (found["holdout_share"], found["routed"]["requests"], found["held_out"]["requests"]) == (0, 0, 0)


async def test_with_few_held_out_requests_no_savings_are_measured(tmp_path: Path) -> None:
    async with opened(tmp_path, holdout_share=0.5) as world:
        for i in range(10):
            await world.ask(f"Question {i}", request_id=f"r-{i}")

        found = (await stats(world))["savings"]["measured"]

    assert found["reward"]["reason"] == "at least 30 of each are needed, got 0 routed and 0 held out"
    n_routed, n_held_out = found["routed"]["requests"], found["held_out"]["requests"]
    assert n_routed + n_held_out == 10
    assert f"got {n_routed} routed and {n_held_out} held out" in found["cost_usd_per_request"]["reason"]


async def test_savings_are_measured_against_a_bad_and_expensive_default_model(tmp_path: Path) -> None:
    arms = [arm("bad", "2"), arm("good", "1")]
    quality, rng = {"bad": 0.3, "good": 0.8}, np.random.default_rng(6)
    async with opened(tmp_path, arms, holdout_share=0.3) as world:
        for i in range(240):
            world.model_client.will(ANY, Reply(usage=Usage(100, completion_tokens=int(rng.integers(10, 90)))))
            answer = await world.ask(f"Question {i}", request_id=f"r-{i}")
            rewarded = rng.random() < quality[answer.headers["X-Router-Model"]]
            await world.rate(f"r-{i}", float(rewarded))
        await world.ask(model="good")
        await world.ask(router={"learn": False})

        found = (await stats(world))["savings"]["measured"]

    assert found["routed"]["requests"] + found["held_out"]["requests"] == 240
    assert found["held_out"]["requests"] == pytest.approx(72, abs=4 * (240 * 0.3 * 0.7) ** 0.5)
    assert found["held_out"]["mean_reward"] == pytest.approx(0.3, abs=0.2)
    reward, cost = found["reward"], found["cost_usd_per_request"]
    assert 0 < reward["low"] < reward["difference"] < reward["high"]
    assert reward["low"] < 0.5
    assert cost["low"] < cost["difference"] < cost["high"] < 0


async def test_answers_from_the_cache_are_no_part_of_the_comparison(tmp_path: Path) -> None:
    async with opened(tmp_path, cache_enabled=True, holdout_share=0.5) as world:
        await world.ask(request_id="r-1")
        await world.ask(request_id="r-2")

        found = await stats(world)

    assert found["total"]["requests"] == 2
    sides = found["savings"]["measured"]
    assert sides["routed"]["requests"] + sides["held_out"]["requests"] == 1
    assert found["savings"]["assumed"]["requests"] == 1


async def test_only_the_requested_days_are_counted(world: World) -> None:
    for i in range(4):
        await world.ask(request_id=f"r-{i}")
        world.clock.advance(86_400)

    until = world.clock().isoformat()
    since = (world.clock() - timedelta(days=3)).isoformat()

    assert (await stats(world, until=until, days=2))["total"]["requests"] == 2
    assert (await stats(world, until=until, since=since))["total"]["requests"] == 3
    assert (await stats(world, until=until))["since"] == (world.clock() - timedelta(days=30)).isoformat()


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("days=0", "days"),
        ("days=367", "days"),
        ("days=many", "days"),
        ("since=2026-11-01", "since"),
        ("since=2026-11-01T00:00:00", "since"),
        ("since=2026-11-02T00:00:00Z&until=2026-11-02T00:00:00Z", "since"),
        ("since=2026-11-03T00:00:00Z&until=2026-11-02T00:00:00Z", "since"),
        ("since=2025-10-01T00:00:00Z&until=2026-11-02T00:00:00Z", "since"),
        ("since=2026-11-01T00:00:00Z&days=3", "days"),
        ("until=0001-01-01T00:00:00Z", "until"),
        ("until=9999-12-31T23:59:59-14:00", "until"),
        ("baseline=" + "x" * 129, "baseline"),
        ("tenant=other", "tenant"),
    ],
)
async def test_an_invalid_parameter_is_rejected_by_name(world: World, query: str, param: str) -> None:
    response = await world.http.get(f"/v1/stats?{query}")

    assert response.status_code == 400
    error = error_of(response)
    assert error["param"] == param
    assert error["message"].startswith(f"{param}: ")


async def test_a_baseline_that_does_not_exist_is_not_found(world: World) -> None:
    response = await world.http.get("/v1/stats?baseline=unknown")

    assert response.status_code == 404
    assert error_of(response)["param"] == "baseline"


async def test_there_are_no_stats_while_the_store_is_down(world: World) -> None:
    world.store.is_down = True

    response = await world.http.get("/v1/stats")

    assert response.status_code == 503
    assert error_of(response)["code"] == "unavailable"
    assert "Retry-After" in response.headers


async def test_a_month_is_projected_from_the_measured_traffic(world: World) -> None:
    for n in range(100):
        await world.ask(request_id=f"r-{n}", router={"models": ["small"]})
    few = (await stats(world, baseline="large"))["savings"]["projected"]
    world.clock.advance(9.5 * 86_400)

    enough = (await stats(world, baseline="large"))["savings"]

    saved = enough["assumed"]["saved_usd"] / 100
    projected = enough["projected"]["against_baseline"]
    assert (enough["projected"]["days"], enough["projected"]["month_days"]) == (10.042, 30)
    assert (projected["model"], projected["requests"]) == ("large", 100)
    assert projected["saved_usd_per_request"] == {
        "saved_usd": pytest.approx(saved),
        "low": None,
        "high": None,
        "reason": None,
    }
    assert projected["saved_usd_per_month"]["saved_usd"] == pytest.approx(
        saved * projected["requests_per_day"] * 30
    )
    assert projected["saved_usd_at_requests"]["1000000"]["saved_usd"] == pytest.approx(saved * 1_000_000)
    assert few["against_baseline"]["saved_usd_per_month"]["reason"].startswith("at least 7 days")
    assert few["against_baseline"]["saved_usd_per_request"]["saved_usd"] == pytest.approx(saved)
    assert few["against_holdout"]["saved_usd_per_request"]["reason"] == (
        "HOLDOUT_SHARE is 0: no request was held out"
    )
