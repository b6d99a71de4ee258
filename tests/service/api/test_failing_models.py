from __future__ import annotations

from pathlib import Path

import pytest

from service.errors import ProviderBroken, ProviderOutOfCredit, ProviderRateLimited, ProviderRejected
from tests.fakes import ANY, Reply
from tests.service.world import World, error_of, events_of, opened, text_of

BROKEN = ProviderBroken("the upstream failed", status=500)


@pytest.mark.parametrize("stream", [False, True])
async def test_when_a_model_fails_before_its_first_content_another_answers(
    world: World, stream: bool
) -> None:
    world.model_client.will(ANY, Reply(words=(), error=BROKEN))

    response = await world.ask(request_id="r-1", stream=stream)

    failed, answered = world.model_client.called
    assert response.status_code == 200
    assert response.headers["X-Router-Decision"] == "fallback"
    assert response.headers["X-Router-Model"] == answered != failed
    record = await world.record("r-1")
    assert (record["chosen_model"], record["outcome"]["model"]) == (failed, answered)
    assert [attempt["status"] for attempt in record["attempts"]] == ["failed", "ok"]


async def test_a_stream_shows_nothing_of_the_model_that_failed_before(world: World) -> None:
    world.model_client.will(ANY, Reply(words=("",), error=BROKEN), Reply(words=("All", " well.")))

    events = events_of(await world.ask(stream=True))

    assert text_of(events) == "All well."
    assert len({event["model"] for event in events if isinstance(event, dict)}) == 1
    assert events[-1] == "[DONE]"


@pytest.mark.parametrize("error", [BROKEN, ProviderRateLimited("slow down", status=429)])
async def test_a_failure_after_the_first_content_is_an_error_event_without_done(
    world: World, error: ProviderBroken | ProviderRateLimited
) -> None:
    world.model_client.will("large", Reply(words=("Half an",), error=error))

    response = await world.ask(request_id="r-1", model="large", stream=True)

    events = events_of(response)
    assert response.status_code == 200
    assert text_of(events) == "Half an"
    assert events[-1] == {
        "error": {
            "message": str(error),
            "type": "server_error",
            "param": None,
            "code": "upstream_error",
        }
    }
    assert world.model_client.called == ["large"]
    record = await world.record("r-1")
    assert record["outcome"]["status"] == "failed"
    assert record["attempts"][0]["error_message"] == str(error)


@pytest.mark.parametrize("stream", [False, True])
async def test_when_every_model_fails_the_client_can_retry_later(world: World, stream: bool) -> None:
    world.model_client.will(ANY, *[Reply(words=(), error=BROKEN)] * 3)

    response = await world.ask(request_id="r-1", stream=stream)

    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) >= 1
    assert int(response.headers["Retry-After-Ms"]) >= 1
    error = error_of(response)
    assert error["code"] == "no_model_answered"
    assert error["message"].count("the upstream failed") == 3
    record = await world.record("r-1")
    assert sorted(attempt["model"] for attempt in record["attempts"]) == ["large", "medium", "small"]
    assert record["outcome"]["status"] == "failed"


@pytest.mark.parametrize("stream", [False, True])
async def test_when_every_provider_limits_the_rate_the_router_answers_429(world: World, stream: bool) -> None:
    for arm_id, wait_s in (("small", 60), ("medium", 7.2), ("large", 30)):
        limited = ProviderRateLimited("slow down", status=429, retry_after_s=wait_s)
        world.model_client.will(arm_id, Reply(words=(), error=limited))

    tried = await world.ask(stream=stream)
    cooling_down = await world.ask(stream=stream)

    for response in (tried, cooling_down):
        assert response.status_code == 429
        assert (error_of(response)["type"], error_of(response)["code"]) == ("requests", "rate_limit_exceeded")
        assert response.headers["Retry-After"] == "8"
        assert response.headers["Retry-After-Ms"] == "7200"
    assert len(world.model_client.calls) == 3


async def test_without_credit_in_any_account_there_is_no_retry_after(world: World) -> None:
    world.model_client.will(ANY, *[Reply(error=ProviderOutOfCredit("pay first", status=402))] * 3)

    tried = await world.ask()
    cooling_down = await world.ask()

    for response in (tried, cooling_down):
        assert response.status_code == 429
        assert error_of(response)["code"] == error_of(response)["type"] == "insufficient_quota"
        assert "Retry-After" not in response.headers


async def test_with_credit_in_some_accounts_there_is_a_retry_after(world: World) -> None:
    unpaid = ProviderOutOfCredit("pay first", status=402)
    limited = ProviderRateLimited("slow down", status=429, retry_after_s=7)
    world.model_client.will(ANY, Reply(error=unpaid), Reply(error=limited), Reply(error=unpaid))

    response = await world.ask()

    assert (response.status_code, error_of(response)["code"]) == (429, "rate_limit_exceeded")
    assert response.headers["Retry-After"] == "7"


async def test_a_failure_among_the_limits_is_a_failure(world: World) -> None:
    limited = ProviderRateLimited("slow down", status=429, retry_after_s=7)
    world.model_client.will(ANY, Reply(error=limited), Reply(error=BROKEN), Reply(error=limited))

    response = await world.ask()

    assert (response.status_code, error_of(response)["code"]) == (503, "no_model_answered")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_that_the_provider_rejects_gets_the_providers_error(
    world: World, stream: bool
) -> None:
    faulty = ProviderRejected(
        "temperature must be at most 1 with thinking", status=400, param="temperature", code="bad_value"
    )
    world.model_client.will(ANY, Reply(words=(), error=faulty))

    response = await world.ask(stream=stream)

    assert response.status_code == 400
    assert error_of(response) == {
        "message": "temperature must be at most 1 with thinking",
        "type": "invalid_request_error",
        "param": "temperature",
        "code": "bad_value",
    }
    assert len(world.model_client.calls) == 1


async def test_no_more_models_are_called_than_allowed(tmp_path: Path) -> None:
    async with opened(tmp_path, max_attempts=2) as world:
        world.model_client.will(ANY, *[Reply(error=BROKEN)] * 3)

        response = await world.ask()

    assert response.status_code == 503
    assert len(world.model_client.calls) == 2
