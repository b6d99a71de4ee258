from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from service.errors import ProviderBroken
from tests.fakes import Reply
from tests.service.world import World, error_of, opened


async def test_the_dollars_of_a_request_are_those_of_all_its_calls(world: World) -> None:
    first = await world.ask(request_id="r-1", model="large")
    once = (await world.http.get("/metrics/r-1")).json()["cost_usd"]
    again = await world.ask(request_id="r-1", model="large")

    twice = (await world.http.get("/metrics/r-1")).json()["cost_usd"]

    assert first.status_code == again.status_code == 200
    assert twice == pytest.approx(2 * once)


async def test_every_answer_has_a_request_id(world: World) -> None:
    answers = [
        await world.http.get(path) for path in ("/health", "/v1/models", "/nowhere", "/requests/unknown")
    ]

    ids = {answer.headers["X-Request-ID"] for answer in answers}

    assert len(ids) == len(answers)


async def test_a_record_shows_everything_about_a_request(world: World) -> None:
    world.model_client.will("large", Reply(takes_s=0.25))
    await world.ask("An old question", request_id="r-0")
    await world.rate("r-0", 0.9)
    await world.ask("An old question indeed", request_id="r-1", router={"models": ["large", "small"]})
    await world.rate("r-1", 0.5, feedback_text="Fair.")

    record = await world.record("r-1")

    candidates = record["candidates"]
    assert [candidate["model"] for candidate in candidates] == ["small", "large"]
    assert sum(candidate["probability"] for candidate in candidates) == pytest.approx(1, abs=1e-9)
    assert all(candidate["probability"] > 0 for candidate in candidates)
    assert record["rejected"] == [{"model": "medium", "reason": "not among router.models"}]
    chosen = next(candidate for candidate in candidates if candidate["model"] == record["chosen_model"])
    assert record["propensity"] == chosen["probability"]
    assert record["draw"] == {
        "uniform": record["draw"]["uniform"],
        "model": record["chosen_model"],
        "propensity": record["propensity"],
    }
    assert 0 <= record["draw"]["uniform"] < 1
    [neighbour] = record["neighbours"]
    assert (neighbour["request_id"], neighbour["reward"]) == ("r-0", 0.9)
    assert 0.5 < neighbour["similarity"] < 1
    [attempt] = record["attempts"]
    assert (attempt["model"], attempt["status"]) == (record["model"], "ok")
    assert record["outcome"]["usage"]["prompt_tokens"] == 100
    assert [(e["score"], e["feedback_text"]) for e in record["feedback"]] == [(0.5, "Fair.")]


async def test_every_candidates_utility_is_the_sum_of_its_terms(world: World) -> None:
    await world.ask(request_id="r-1")

    for candidate in (await world.record("r-1"))["candidates"]:
        terms = candidate["utility"]
        posterior = candidate["posterior"]
        parts = [terms[name] for name in ("quality", "bonus", "speed", "cost", "budget")]
        assert terms["total"] == pytest.approx(sum(parts), abs=1e-5)
        assert posterior["mean"] == pytest.approx(
            posterior["alpha"] / (posterior["alpha"] + posterior["beta"]), abs=1e-5
        )


async def test_texts_are_stored_only_if_store_texts_is_on(tmp_path: Path, world: World) -> None:
    async with opened(tmp_path / "kept", store_texts=True) as storing:
        await storing.ask("What is a secret?", request_id="r-1")
        stored = await storing.record("r-1")
    await world.ask("What is a secret?", request_id="r-1")

    record = await world.record("r-1")

    assert (stored["query"]["text"], stored["outcome"]["answer_text"]) == (
        "What is a secret?",
        "Hello there.",
    )
    assert "secret" not in str(record)
    assert "Hello" not in str(record)
    assert (record["query"]["n_chars"], record["outcome"]["answer_chars"]) == (17, 12)


@pytest.mark.parametrize("path", ["/requests/unknown", "/metrics/unknown", "/requests/%00", "/metrics/a%20b"])
async def test_an_unknown_request_is_not_found(world: World, path: str) -> None:
    response = await world.http.get(path)

    assert response.status_code == 404
    error = error_of(response)
    assert (error["param"], error["code"]) == ("request_id", "request_not_found")


@pytest.mark.parametrize("path", ["/requests/r-1", "/metrics/r-1"])
async def test_records_are_unavailable_while_the_store_is_down(world: World, path: str) -> None:
    await world.ask(request_id="r-1")
    world.store.is_down = True

    response = await world.http.get(path)

    assert response.status_code == 503
    assert "Retry-After" in response.headers


async def numbers(world: World, request_id: str) -> dict[str, Any]:
    await world.background.drain(5.0)
    found: dict[str, Any] = (await world.http.get(f"/metrics/{request_id}")).json()
    return found


async def test_the_numbers_of_an_answered_request(world: World) -> None:
    world.model_client.will("large", Reply(takes_s=0.25))
    await world.ask(request_id="r-1", model="large")
    await world.rate("r-1", 0.5)

    found = await numbers(world, "r-1")

    assert found.pop("overhead_ms") >= 0
    assert found == {
        "request_id": "r-1",
        "model": "large",
        "decision": "pinned",
        "status": "ok",
        "latency_ms": 250.0,
        "ttft_ms": None,
        "prompt_tokens": 100,
        "cached_tokens": 0,
        "cache_write_tokens": 0,
        "completion_tokens": 50,
        "reasoning_tokens": 0,
        "cost_usd": 0.0006,  # 100 tokens at 2 and 50 at 8 dollars per million
        "reward": 0.5,
    }


async def test_a_streamed_request_also_has_a_time_to_the_first_content(world: World) -> None:
    world.model_client.will("large", Reply(takes_s=0.125))

    await world.ask(request_id="r-1", model="large", stream=True)

    assert (await numbers(world, "r-1"))["ttft_ms"] == 125.0


async def test_a_request_costs_the_sum_of_its_attempts_by_the_prices_of_each(world: World) -> None:
    world.model_client.will("large", Reply(words=("Half an",), error=ProviderBroken("gone")))

    await world.ask("Hi", request_id="r-1", model="large", stream=True)

    found = await numbers(world, "r-1")
    assert found["status"] == "failed"
    assert found["cost_usd"] > 0
    assert found["completion_tokens"] == 2


async def test_a_failed_request_has_no_cost_and_no_reward(world: World) -> None:
    world.model_client.will("large", Reply(error=ProviderBroken("gone", status=404)))

    await world.ask(request_id="r-1", model="large")

    found = await numbers(world, "r-1")
    assert (found["status"], found["cost_usd"], found["reward"]) == ("failed", 0, None)


# --- deciding only


async def test_route_decides_and_explains_without_a_call_a_log_entry_or_learning(world: World) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}], "router": {"models": ["small", "large"]}}

    response = await world.http.post("/v1/route", json=body, headers={"X-Request-ID": "r-1"})

    assert response.status_code == 200
    decided = response.json()
    assert decided["request_id"] == "r-1"
    assert decided["model"] == decided["draw"]["model"]
    assert decided["decision"] in {"exploit", "explore"}
    assert decided["holdout"] is None
    assert sum(c["probability"] for c in decided["candidates"]) == pytest.approx(1)
    assert [r["model"] for r in decided["rejected"]] == ["medium"]
    assert world.model_client.calls == []
    assert world.store.decisions == {}
    assert (await world.http.get("/requests/r-1")).status_code == 404


async def test_route_names_the_dependencies_that_were_unavailable(world: World) -> None:
    world.memory.is_down = True

    response = await world.http.post("/v1/route", json={"messages": [{"role": "user", "content": "Hi"}]})

    assert response.json()["degraded"] == ["memory"]


async def test_route_rejects_what_a_completion_rejects(world: World) -> None:
    response = await world.http.post("/v1/route", json={"messages": []})

    assert response.status_code == 400
    assert error_of(response)["param"] == "messages"
