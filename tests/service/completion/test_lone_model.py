"""A model that no other can replace: it is called again after a failure, and while it cools down."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from service.completion.backoff import LONGEST_WAIT_S, wait_before_retry_s
from service.errors import (
    ProviderBroken,
    ProviderCutShort,
    ProviderError,
    ProviderFellShort,
    ProviderOutOfCredit,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
)
from tests.fakes import ANY, Reply
from tests.service.world import LARGE, MEDIUM, SMALL, World, events_of, opened, text_of

PASSING: dict[str, ProviderError] = {
    "overloaded": ProviderBroken("overloaded", status=529),
    "500": ProviderBroken("boom", status=500),
    "503 with a time": ProviderBroken("busy", status=503, retry_after_s=3),
    "504 of a gateway": ProviderTimeout("late", status=504),
    "lost connection": ProviderBroken("the connection failed"),
    "garbage": ProviderBroken("no completion", status=200),
    "429 without a time": ProviderRateLimited("slow down", status=429),
    "429 with a short time": ProviderRateLimited("slow down", status=429, retry_after_s=3),
}
LASTING: dict[str, ProviderError] = {
    "rejected": ProviderRejected("bad field", status=400),
    "rejected as a limit": ProviderRejected("too long", status=400, code="context_length_exceeded"),
    "no credit": ProviderOutOfCredit("pay", status=402),
    "no credit, with a time": ProviderOutOfCredit("pay", status=429, retry_after_s=1),
    "wrong key": ProviderBroken("key", status=401),
    "no such model": ProviderBroken("model", status=404),
    "silent for its whole time": ProviderTimeout("late", has_begun=True),
    "too little time": ProviderCutShort("late", has_begun=True),
    "429 with a long time": ProviderRateLimited("slow down", status=429, retry_after_s=39),
}


@pytest.fixture
async def lone(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path, [SMALL]) as world:
        yield world


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("error", PASSING.values(), ids=PASSING)
async def test_the_only_model_is_called_again_after_a_failure_that_may_pass(
    lone: World, error: ProviderError, stream: bool
) -> None:
    lone.model_client.will(ANY, *[Reply(words=(), error=error)] * 2)
    before = lone.clock()

    response = await lone.ask(stream=stream, request_id="r-1")
    record = await lone.record("r-1")

    assert response.status_code == 200
    assert lone.model_client.called == ["small"] * 3
    assert [a["status"] for a in record["attempts"]] == ["failed", "failed", "ok"]
    assert response.headers["X-Router-Decision"] == record["decision"] != "fallback"
    waited_s = (lone.clock() - before).total_seconds()
    assert waited_s == 6 if error.retry_after_s else 0.75 <= waited_s <= 1.5


@pytest.mark.parametrize("error", LASTING.values(), ids=LASTING)
async def test_it_is_not_called_again_if_the_failure_would_repeat(lone: World, error: ProviderError) -> None:
    lone.model_client.will(ANY, *[Reply(error=error)] * 3)

    response = await lone.ask()

    assert response.status_code in {400, 429, 503}
    assert len(lone.model_client.calls) == 1


async def test_a_model_that_the_client_names_and_one_whose_others_are_ruled_out_are_lone_too(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as world:
        for body in (
            {"model": "large"},
            {"router": {"models": ["large"]}},
            {"router": {"exclude": ["small", "medium"]}},
        ):
            world.model_client.calls.clear()
            world.model_client.will("large", Reply(error=PASSING["500"]))

            assert (await world.ask(**body)).status_code == 200
            assert world.model_client.called == ["large", "large"]


async def test_another_model_is_preferred_to_a_second_call(tmp_path: Path) -> None:
    async with opened(tmp_path, [SMALL, LARGE]) as world:
        world.model_client.will(ANY, *[Reply(error=PASSING["500"])] * 2)

        response = await world.ask()

    assert response.status_code == 503
    assert sorted(world.model_client.called) == ["large", "small"]


async def test_after_the_last_call_the_client_gets_the_failure(lone: World) -> None:
    lone.model_client.will(ANY, *[Reply(error=PASSING["500"])] * 9)

    response = await lone.ask()

    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert len(lone.model_client.calls) == 3


async def test_retries_of_the_client_leave_fewer_calls(lone: World) -> None:
    lone.model_client.will(ANY, *[Reply(error=PASSING["500"])] * 9)

    await lone.ask(headers={"X-Stainless-Retry-Count": "2"})

    assert len(lone.model_client.calls) == 1


async def test_no_wait_outlasts_the_deadline(tmp_path: Path) -> None:
    async with opened(tmp_path, [SMALL], request_deadline_s=5) as world:
        limited = ProviderRateLimited("slow down", status=429, retry_after_s=8)
        world.model_client.will(ANY, *[Reply(error=limited)] * 3)

        response = await world.ask()

    assert (response.status_code, response.headers["Retry-After"]) == (429, "8")
    assert len(world.model_client.calls) == 1


async def test_nothing_is_repeated_once_content_was_sent(lone: World) -> None:
    lone.model_client.will(ANY, Reply(words=("Half an",), error=PASSING["500"]))

    events = events_of(await lone.ask(stream=True))

    assert text_of(events) == "Half an"
    assert len(lone.model_client.calls) == 1


async def test_the_calls_of_one_request_count_as_one_failure(lone: World) -> None:
    lone.model_client.will(ANY, *[Reply(error=PASSING["500"])] * 3)

    await lone.ask()

    state = lone.parts.catalog.breaker.state_of(SMALL)
    assert (state.condition, state.n_failures, state.counts["failed"]) == ("closed", 1, 3)


async def test_rate_limits_of_one_request_count_as_one(lone: World) -> None:
    lone.model_client.will(ANY, *[Reply(error=PASSING["429 without a time"])] * 3)

    response = await lone.ask()

    assert response.status_code == 429
    assert 28 <= int(response.headers["Retry-After"]) <= 30  # not the long cool-down of repeated limits


async def test_a_model_that_answered_in_the_end_has_no_signal_against_it(lone: World) -> None:
    lone.model_client.will(ANY, Reply(error=PASSING["500"]))

    await lone.ask(request_id="r-1")
    await lone.background.drain(5.0)

    assert not lone.store.events


@pytest.mark.parametrize("error", [PASSING["500"], LASTING["no credit"], LASTING["wrong key"]], ids=str)
async def test_a_lone_model_is_called_while_it_cools_down(lone: World, error: ProviderError) -> None:
    """Without the circuit breaker its clients would be answered as soon as it is back."""
    for _ in range(9):
        lone.parts.catalog.breaker.failed(SMALL, error)
    assert lone.parts.catalog.breaker.open_reason(SMALL) is not None

    response = await lone.ask()

    assert response.status_code == 200
    assert lone.parts.catalog.breaker.open_reason(SMALL) is None


async def test_a_lone_model_is_not_called_while_its_provider_asks_to_wait(lone: World) -> None:
    lone.parts.catalog.breaker.failed(SMALL, LASTING["429 with a long time"])

    response = await lone.ask()

    assert (response.status_code, response.headers["Retry-After"]) == (429, "39")
    assert lone.model_client.calls == []


async def test_several_models_that_all_cool_down_are_left_alone(tmp_path: Path) -> None:
    async with opened(tmp_path, [SMALL, MEDIUM]) as world:
        for arm in (SMALL, MEDIUM):
            for _ in range(3):
                world.parts.catalog.breaker.failed(arm, PASSING["500"])

        response = await world.ask()

    assert (response.status_code, response.headers["Retry-After"]) == (503, "30")
    assert world.model_client.calls == []


# --- the wait


def test_the_wait_doubles_has_jitter_and_is_bounded() -> None:
    rng = np.random.default_rng(0)
    error = ProviderBroken("boom", status=500)

    for n, longest_s in ((1, 0.5), (2, 1.0), (3, 2.0), (20, LONGEST_WAIT_S)):
        waits = [wait_before_retry_s(error, n, rng) or 0.0 for _ in range(200)]
        assert longest_s / 2 <= min(waits) < max(waits) <= longest_s
        assert len(set(waits)) > 100


def test_the_provider_s_own_time_is_kept_exactly() -> None:
    rng = np.random.default_rng(0)

    assert wait_before_retry_s(ProviderBroken("busy", status=503, retry_after_s=0), 1, rng) == 0
    assert wait_before_retry_s(ProviderBroken("busy", status=503, retry_after_s=10), 1, rng) == 10
    assert wait_before_retry_s(ProviderBroken("busy", status=503, retry_after_s=10.1), 1, rng) is None


def test_an_empty_answer_is_no_reason_to_wait() -> None:
    assert wait_before_retry_s(ProviderFellShort("empty"), 1, np.random.default_rng(0)) is None
