from __future__ import annotations

from pathlib import Path

from service.domain.key_check import KeyCheck
from service.domain.registration import ArmRegistration
from service.errors import ProviderBroken, ProviderOutOfCredit, ProviderRateLimited, ProviderTimeout
from service.providers.simulator.simulator import SIMULATED_ARMS
from tests.fakes import FakeKeyChecker, Reply
from tests.fakes_arms import NOW
from tests.service.world import World, error_of, opened


async def test_health_names_every_dependency(world: World) -> None:
    response = await world.http.get("/health")

    health = response.json()
    assert response.status_code == 200
    assert health["status"] == "ok"
    assert health["simulated"] is False
    assert health["models"] == ["small", "medium", "large"]
    assert (health["default_model"], health["default_model_state"]) == ("small", "active")
    assert {name: state["status"] for name, state in health["dependencies"].items()} == {
        "postgresql": "ok",
        "qdrant": "ok",
        "encoder": "ok",
    }
    assert (await world.http.get("/v1/health")).json() == health


async def test_health_names_the_dependency_that_is_unavailable(world: World) -> None:
    world.store.is_down = world.memory.is_down = world.encoder.is_down = True

    response = await world.http.get("/health")

    assert response.status_code == 200
    assert response.json()["status"] == "degraded"
    assert {d["status"] for d in response.json()["dependencies"].values()} == {"unavailable"}


async def test_an_overload_of_postgresql_is_no_outage(world: World) -> None:
    world.store.is_busy = True

    health = (await world.http.get("/health")).json()
    feedback = await world.rate("r-1", 1.0)

    assert health["status"] == "ok"
    assert health["dependencies"]["postgresql"]["status"] == "ok"
    assert "connections are in use" in health["dependencies"]["postgresql"]["overload"]
    assert (feedback.status_code, error_of(feedback)["code"]) == (503, "overloaded")
    assert "Retry-After" in feedback.headers


async def test_health_counts_the_decisions_and_outcomes_in_the_spool(world: World) -> None:
    world.store.is_down = True
    await world.ask()

    health = (await world.http.get("/health")).json()

    assert health["dependencies"]["postgresql"]["spooled"] == 2


async def test_health_tells_of_work_that_fails_while_the_dependency_answers(world: World) -> None:
    world.memory.recall_s = 3600.0  # it counts its points at once

    for number in range(3):
        await world.ask(f"question {number}")

    health = (await world.http.get("/health")).json()
    assert {d["status"] for d in health["dependencies"].values()} == {"ok"}
    assert health["status"] == "degraded"
    assert health["work"]["recall"] == {
        "last_success_s_ago": None,
        "failures_since": 3,
        "last_error": "TimeoutError",
    }
    assert (health["work"]["encode"]["failures_since"], health["work"]["keep"]["failures_since"]) == (0, 0)

    world.memory.recall_s = 0.0
    await world.ask("another question")

    health = (await world.http.get("/health")).json()
    assert (health["status"], health["work"]["recall"]["failures_since"]) == ("ok", 0)


async def test_a_lost_decision_degrades_health_until_one_is_kept(tmp_path: Path) -> None:
    async with opened(tmp_path, spool_bytes=0) as world:
        world.store.is_down = True
        await world.ask()
        world.store.is_down = False

        health = (await world.http.get("/health")).json()
        assert health["dependencies"]["postgresql"]["status"] == "ok"
        assert health["dependencies"]["postgresql"]["lost"] > 0
        assert health["status"] == "degraded"
        assert "are lost" in health["warnings"][-1]

        await world.ask()

        assert (await world.http.get("/health")).json()["status"] == "ok"


async def test_health_does_not_wait_for_a_stuck_encoder(tmp_path: Path) -> None:
    async with opened(tmp_path, embedding_timeout_s=0.01) as world:
        world.encoder.is_stuck = True

        health = (await world.http.get("/health")).json()

    assert health["dependencies"]["encoder"]["status"] == "unavailable"
    assert health["dependencies"]["encoder"]["error"] == "no answer in time"


async def test_health_shows_which_models_are_cooling_down(world: World) -> None:
    limited = ProviderRateLimited("slow down", status=429, retry_after_s=30)
    world.model_client.will("large", Reply(error=limited))
    await world.ask(model="large")

    health = (await world.http.get("/health")).json()

    [model] = health["cooling_down_models"]
    assert model["model"] == "large"
    assert "asked to wait" in model["open_reason"]
    assert health["status"] == "ok"


async def test_health_is_degraded_while_the_default_model_is_retired(world: World) -> None:
    now = world.clock()
    world.parts.lifecycle.follow({"small": ArmRegistration("small", now, now, state="retired")})

    health = (await world.http.get("/health")).json()

    assert (health["status"], health["default_model_state"]) == ("degraded", "retired")


async def test_health_is_degraded_when_every_model_is_cooling_down(world: World) -> None:
    for model in ("small", "medium", "large"):
        world.model_client.will(
            model, Reply(error=ProviderRateLimited("slow down", status=429, retry_after_s=30))
        )
        await world.ask(model=model)

    health = (await world.http.get("/health")).json()

    assert health["status"] == "degraded"
    assert len(health["cooling_down_models"]) == 3


async def test_backends_status_shows_the_circuit_breaker_of_each_model(world: World) -> None:
    world.model_client.will("large", *[Reply(error=ProviderTimeout("a secret of the provider's"))] * 3)
    for _ in range(3):
        await world.ask(model="large")
    await world.ask(model="small")

    response = await world.http.get("/backends/status")

    small, medium, large = response.json()["models"]
    assert response.json()["scope"] == "process"
    assert [model["state"] for model in (small, medium, large)] == ["closed", "closed", "open"]
    assert (small["calls"], medium["calls"], large["calls"]) == ({"succeeded": 1}, {}, {"failed": 3})
    assert large["open_reason"] == "cooling down for 30 s more after 3 failures in a row"
    assert (large["since"], large["reopens_in_s"]) == ("2026-11-20T12:00:00+00:00", 30.0)
    assert {last["error"] for last in large["last_errors"]} == {"ProviderTimeout"}
    assert "secret" not in response.text


async def test_backends_status_shows_what_every_model_can_do(world: World) -> None:
    status = (await world.http.get("/backends/status")).json()

    assert [model["capabilities"] for model in status["models"]] == [
        ["tools"],
        ["json_schema", "tools"],
        ["json_schema", "tools", "vision"],
    ]
    assert status["models"][0]["context_window"] == 4_000
    assert status["models"][0]["deployments"] == []
    embed, own, _ = status["embedding_models"]
    assert (embed["model"], embed["capabilities"], embed["dimensions"]) == ("embed", ["embeddings"], 4)
    assert [place["state"] for place in embed["deployments"]] == ["closed", "closed"]
    assert own["deployments"] == []
    assert status["moderation_models"] == []


async def test_the_settings_of_the_circuit_breaker_take_effect(tmp_path: Path) -> None:
    async with opened(tmp_path, breaker_failures=1, breaker_rest_s=5, breaker_long_rest_s=9) as world:
        world.model_client.will("large", Reply(error=ProviderTimeout("late")))
        world.model_client.will("medium", Reply(error=ProviderOutOfCredit("402", status=402)))
        for model in ("large", "medium"):
            await world.ask(model=model)

        _, medium, large = (await world.http.get("/backends/status")).json()["models"]

    assert (medium["reopens_in_s"], large["reopens_in_s"]) == (9.0, 5.0)


async def test_health_tells_that_models_are_simulated(tmp_path: Path) -> None:
    async with opened(tmp_path, SIMULATED_ARMS) as world:
        health = (await world.http.get("/health")).json()

    assert health["simulated"] is True


async def test_the_service_is_ready_without_a_dependency(world: World) -> None:
    world.store.is_down = world.memory.is_down = True

    assert (await world.http.get("/ready")).status_code == 200


async def test_models_are_listed_as_openai_does(world: World) -> None:
    listed = (await world.http.get("/v1/models")).json()

    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == [
        *("auto", "claude-router", "small", "medium", "large"),
        *("embed", "router-minilm", "unpriced"),
    ]
    assert [model.get("type") for model in listed["data"]] == [None] * 5 + ["embedding"] * 3
    assert {model["object"] for model in listed["data"]} == {"model"}
    assert all(isinstance(model["created"], int) for model in listed["data"])


async def test_one_model_is_found_by_id_and_alias(world: World) -> None:
    names = ["auto", "router/auto", "large", "big", "embed", "texts"]

    found = [(await world.http.get(f"/v1/models/{name}")).json()["id"] for name in names]

    assert found == ["auto", "router/auto", "large", "large", "embed", "embed"]


async def test_an_unknown_model_is_not_found(world: World) -> None:
    response = await world.http.get("/v1/models/openai/acme-0")

    assert response.status_code == 404
    assert error_of(response)["code"] == "model_not_found"


async def test_metrics_are_what_prometheus_reads(world: World) -> None:
    world.memory.is_down = True
    await world.ask(request_id="r-1", model="large")
    await world.rate("r-1", 1.0)
    await world.ask(router={"models": ["small", "medium"]})  # whose neighbours are recalled

    response = await world.http.get("/metrics")

    lines = response.text.splitlines()
    assert response.headers["content-type"].startswith("text/plain; version=")
    assert 'router_requests_total{decision="pinned",model="large",status="ok"} 1.0' in lines
    assert 'router_attempts_total{model="large",status="ok"} 1.0' in lines
    assert 'router_tokens_total{kind="prompt",model="large"} 100.0' in lines
    n_completion = (await world.record("r-1"))["outcome"]["usage"]["completion_tokens"]
    assert n_completion not in (0, 100)
    assert f'router_tokens_total{{kind="completion",model="large"}} {n_completion:.1f}' in lines
    assert 'router_feedback_total{status="applied"} 1.0' in lines
    assert 'router_degraded_total{dependency="memory"} 1.0' in lines
    assert any(line.startswith('router_cost_usd_total{model="large"} 0.0006') for line in lines)
    assert any(line.startswith("router_overhead_seconds_bucket") for line in lines)


async def test_the_api_is_described(world: World) -> None:
    document = (await world.http.get("/openapi.json")).json()

    assert (await world.http.get("/docs")).status_code == 200
    assert {"/v1/chat/completions", "/feedback", "/requests/{request_id}", "/v1/route"} <= set(
        document["paths"]
    )
    assert "ChatCompletionRequest" in document["components"]["schemas"]


# --- keys


async def test_a_rejected_key_shows_in_health_and_in_the_backends_after_a_probe(tmp_path: Path) -> None:
    checker = FakeKeyChecker({"large": KeyCheck("rejected", "HTTP 401: no such key", NOW)})
    async with opened(tmp_path, key_checker=checker) as world:
        before = (await world.http.get("/backends/status")).json()["models"]
        probed = (await world.http.get("/backends/status", params={"probe": "1"})).json()["models"]
        health = (await world.http.get("/health")).json()

    assert {model["key"]["state"] for model in before} == {"unknown"}
    assert [model["key"]["state"] for model in probed] == ["rejected"] * 3  # they share server and key
    assert checker.checked == ["large", "embed"]  # one for each server
    assert probed[2]["key"] == {
        "state": "rejected",
        "reason": "HTTP 401: no such key",
        "checked_at": NOW.isoformat(),
    }
    [warning] = [text for text in health["warnings"] if "key" in text]
    assert warning.startswith("small, medium, large: the provider rejects the key in ")
    assert health["status"] == "ok"


async def test_a_call_that_fails_by_its_key_shows_until_a_call_succeeds(world: World) -> None:
    world.model_client.will("large", Reply(error=ProviderBroken("wrong key", status=401)))
    await world.ask(model="large")

    failing = (await world.http.get("/health")).json()["warnings"]
    world.clock.advance(3_600)
    await world.ask(model="large")
    recovered = (await world.http.get("/health")).json()["warnings"]

    assert any("HTTP 401" in text for text in failing)
    assert not any("HTTP 401" in text for text in recovered)
