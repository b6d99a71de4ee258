"""A service that has more to do than it can: what asks for an answer is refused at once, the rest passes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from service.domain.basics import Json
from service.errors import LocalFault
from tests.fakes import ANY, Reply
from tests.service.world import World, error_of, opened

QUESTION: Json = {"messages": [{"role": "user", "content": "Hi"}]}
REQUESTS: dict[str, Json] = {
    "/v1/chat/completions": QUESTION,
    "/v1/messages": {**QUESTION, "max_tokens": 5},
    "/v1beta/models/auto:generateContent": {"contents": [{"parts": [{"text": "Hi"}]}]},
}


@asynccontextmanager
async def full(folder: Path) -> AsyncIterator[World]:
    """A service that lets one request wait, and that waits for the encoder forever."""
    async with opened(folder, max_waiting_requests=1) as world:
        await world.ask("before", request_id="answered")
        world.encoder.is_stuck = True
        waiting = asyncio.create_task(world.ask("waits"))
        async with asyncio.timeout(5):
            while "waits" not in " ".join(world.encoder.texts):  # noqa: ASYNC110  # the fake tells nobody
                await asyncio.sleep(0)
        yield world
        waiting.cancel()
        await asyncio.wait({waiting})


@pytest.mark.parametrize("path", REQUESTS)
async def test_one_request_more_than_may_wait_is_refused_in_its_dialect(tmp_path: Path, path: str) -> None:
    async with full(tmp_path) as world:
        refused = await world.http.post(path, json=REQUESTS[path])

    assert refused.status_code == (529 if path == "/v1/messages" else 503)
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["x-request-id"]
    assert "the router is overloaded: 1 requests wait" in refused.text


async def test_it_is_refused_before_its_body_is_read(tmp_path: Path) -> None:
    async with full(tmp_path) as world:
        refused = await world.http.post(
            "/v1/chat/completions", content=b"{no json", headers={"Content-Type": "application/json"}
        )

    assert refused.status_code == 503
    assert error_of(refused)["code"] == "overloaded"


async def test_feedback_and_the_operator_pass(tmp_path: Path) -> None:
    async with full(tmp_path) as world:
        answers = [
            await world.rate("answered", 1.0),
            await world.http.get("/ready"),
            await world.http.get("/metrics"),
            await world.http.get("/requests/answered"),
        ]

    assert [answer.is_success for answer in answers] == [True] * 4
    assert "router_overload_refusals_total 0.0" in answers[2].text


async def test_a_request_whose_model_is_answering_does_not_wait(tmp_path: Path) -> None:
    async with opened(tmp_path, max_waiting_requests=1) as world:
        end = asyncio.Event()
        world.model_client.will(ANY, Reply(until=end), Reply(until=end))
        slow = list[asyncio.Task[httpx.Response]]()
        async with asyncio.timeout(5):
            for n_calls in (1, 2):
                slow.append(asyncio.create_task(world.ask(f"slow {n_calls}", stream=n_calls == 2)))
                while len(world.model_client.calls) < n_calls:  # noqa: ASYNC110  # the fake tells nobody
                    await asyncio.sleep(0)

        answer = await world.ask("quick")
        end.set()

        assert answer.status_code == 200
        assert [response.status_code for response in await asyncio.gather(*slow)] == [200, 200]


async def test_those_that_were_answered_wait_no_more(tmp_path: Path) -> None:
    async with opened(tmp_path, max_waiting_requests=1) as world:
        answers = [await world.ask(f"question {n}", stream=n % 2 == 0) for n in range(4)]
        failures = [await world.http.post("/v1/chat/completions", json={}) for _ in range(2)]
        last = await world.ask("last")

    assert [answer.status_code for answer in [*answers, last]] == [200] * 5
    assert [failure.status_code for failure in failures] == [400] * 2


async def test_without_a_limit_all_wait(tmp_path: Path) -> None:
    async with opened(tmp_path, max_waiting_requests=0) as world:
        answers: list[httpx.Response] = await asyncio.gather(*(world.ask(f"{n}") for n in range(50)))

    assert {answer.status_code for answer in answers} == {200}


async def test_a_fault_of_this_machine_is_no_models_fault(world: World) -> None:
    fault = LocalFault("the router could not call a model: Too many open files")
    for model in ("small", "medium", "large"):
        world.model_client.will(model, *[Reply(error=fault)] * 4)

    answers = [await world.ask() for _ in range(4)]

    assert [answer.status_code for answer in answers] == [503] * 4
    assert error_of(answers[0])["code"] == "overloaded"
    assert "Retry-After" in answers[0].headers
    assert len(world.model_client.calls) == 4  # each was called once, and no other model for it
    backends = (await world.http.get("/backends/status")).json()["models"]
    assert {backend["state"] for backend in backends} == {"closed"}
