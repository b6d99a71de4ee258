"""Acknowledged requests and feedback survive the death of the process at any moment."""

from __future__ import annotations

import asyncio
import json
import random
import resource
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import openai
from openai import AsyncOpenAI

from service.commands.jobs.replay.outcomes import Outcomes
from service.commands.jobs.replay.tariff import router_settings
from service.commands.jobs.replay.upstream import RecordedUpstream
from tests.e2e.running import RunningRouter, eventually

Serve = Callable[..., RunningRouter]
N_KILLS = 20
N_CLIENTS = 4
CLEAN = "evidence: 0 differences found, 0 left\nmemory: 0 differences found, 0 left"


@dataclass
class Acknowledged:
    """The requests and feedback that the router acknowledged to the clients."""

    answers: list[str] = field(default_factory=list)
    feedbacks: list[tuple[str, float]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)  # other than a broken connection


async def test_twenty_kills_under_load_lose_nothing_that_was_acknowledged(
    serve: Serve, outcomes: Outcomes, workplace: Path
) -> None:
    rng = random.Random(20)
    acknowledged = Acknowledged()
    async with RecordedUpstream(outcomes) as upstream:
        config = workplace / "kills.json"  # JSON is YAML
        config.write_text(json.dumps(router_settings(outcomes, upstream.base_url)))
        router = await asyncio.to_thread(serve, config_file=str(config), log_level="error")
        for kill in range(N_KILLS):
            async with router.async_client() as client, httpx.AsyncClient(base_url=router.url) as plain:
                clients = [
                    asyncio.create_task(_call(f"{kill}-{i}", client, plain, outcomes, rng, acknowledged))
                    for i in range(N_CLIENTS)
                ]
                await asyncio.to_thread(_rated, acknowledged, len(acknowledged.feedbacks) + kill % 4)
                await asyncio.sleep(rng.uniform(0.0, 0.4))  # the test kills at a random moment
                router.kill()
                await asyncio.gather(*clients)
            await asyncio.to_thread(router.start)

        await asyncio.to_thread(_caught_up, router)
        await _assert_kept(router, acknowledged)
        code = await asyncio.to_thread(router.interrupt)
        checked = await asyncio.to_thread(router.run, "rebuild", "--check")

    assert acknowledged.errors == []
    assert len(acknowledged.answers) > N_KILLS
    assert len(acknowledged.feedbacks) > N_KILLS
    assert code == 0
    assert CLEAN in checked.stdout


async def _call(
    name: str,
    client: AsyncOpenAI,
    plain: httpx.AsyncClient,
    outcomes: Outcomes,
    rng: random.Random,
    acknowledged: Acknowledged,
) -> None:
    """Send requests and feedback until the router is dead."""
    for turn in range(10_000):
        request_id = f"kill-{name}-{turn}"
        prompt = outcomes.prompts[rng.randrange(len(outcomes.prompts))]
        try:
            await _ask(client, request_id, prompt, is_stream=turn % 2 == 0)
            acknowledged.answers.append(request_id)
            body = {"request_id": request_id, "score": turn % 5 / 4}
            rated = await plain.post("/feedback", json=body)
            if rated.status_code == 202:
                acknowledged.feedbacks.append((request_id, turn % 5 / 4))
            else:
                acknowledged.errors.append(rated.text)
        except (openai.APIConnectionError, httpx.TransportError):
            return
        except openai.APIError as error:
            acknowledged.errors.append(str(error))


async def _ask(client: AsyncOpenAI, request_id: str, prompt: str, *, is_stream: bool) -> None:
    """Return when the answer is complete."""
    headers = {"X-Request-ID": request_id}
    if not is_stream:
        await client.chat.completions.create(
            model="auto", messages=[{"role": "user", "content": prompt}], extra_headers=headers
        )
        return
    stream = await client.chat.completions.create(
        model="auto", messages=[{"role": "user", "content": prompt}], extra_headers=headers, stream=True
    )
    finished = False
    async for chunk in stream:
        finished = finished or any(choice.finish_reason for choice in chunk.choices)
    assert finished


def _rated(acknowledged: Acknowledged, n_feedbacks: int) -> None:
    eventually(lambda: len(acknowledged.feedbacks) >= n_feedbacks)


def _caught_up(router: RunningRouter) -> None:
    eventually(lambda: router.fetch("SELECT count(*) FROM memory_queue") == 0)


async def _assert_kept(router: RunningRouter, acknowledged: Acknowledged) -> None:
    scores = dict(acknowledged.feedbacks)
    async with httpx.AsyncClient(base_url=router.url) as plain:
        for request_id in acknowledged.answers:
            record = (await plain.get(f"/requests/{request_id}")).raise_for_status().json()
            assert record["outcome"]["status"] == "ok"
            assert [attempt["status"] for attempt in record["attempts"]] == ["ok"]
            if request_id in scores:
                assert [event["score"] for event in record["feedback"]] == [scores[request_id]]


def test_without_its_postgresql_a_router_answers_and_a_restart_recovers_everything(serve: Serve) -> None:
    router = serve(log_level="error")
    assert router.ask("before", "hello").status_code == 200
    assert router.rate("before", 1.0).status_code == 202

    with router.without_postgres():
        eventually(lambda: router.get("/health")["status"] == "degraded")
        meanwhile = router.ask("meanwhile", "hello")
        refused = router.rate("before", 0.5)

    assert meanwhile.status_code == 200
    assert "store" in meanwhile.headers["x-router-degraded"]
    assert refused.status_code == 503
    assert "retry-after" in refused.headers

    router.restart()
    eventually(lambda: router.get("/health")["dependencies"]["postgresql"]["spooled"] == 0)

    assert router.get("/requests/meanwhile")["outcome"]["status"] == "ok"
    assert [event["score"] for event in router.get("/requests/before")["feedback"]] == [1.0]
    assert router.rate("meanwhile", 0.5).status_code == 202


def test_a_damaged_memory_is_filled_again_and_told(serve: Serve) -> None:
    router = serve(log_level="error")
    for number in range(3):
        assert router.ask(f"r{number}", f"question {number}").status_code == 200
        assert router.rate(f"r{number}", 1.0).status_code == 202
    eventually(lambda: router.get("/health")["dependencies"]["qdrant"]["points"] == 3)
    assert router.terminate() == 0
    for file in router.data_dir.glob("memory/**/segments/*/segment.json"):
        file.write_text("{")

    router.start()

    health = router.get("/health")
    assert health["status"] == "ok"
    assert "memory was damaged" in health["warnings"][0]
    eventually(lambda: router.get("/health")["dependencies"]["qdrant"]["points"] == 3)
    assert list(router.data_dir.glob("memory/**/*.damaged"))


async def test_without_file_descriptors_clients_are_told_and_no_model_is_blamed(serve: Serve) -> None:
    router = serve(log_level="warning")
    assert router.ask("before", "hello").status_code == 200
    in_use = {int(fd.name) for fd in Path(f"/proc/{router.pid}/fd").iterdir()}  # noqa: ASYNC240
    lowest_free = min(set(range(len(in_use) + 1)) - in_use)
    limits = resource.prlimit(router.pid, resource.RLIMIT_NOFILE)
    body = {"messages": [{"role": "user", "content": "hello"}]}

    resource.prlimit(router.pid, resource.RLIMIT_NOFILE, (lowest_free + 8, limits[1]))
    async with httpx.AsyncClient(base_url=router.url) as client:
        refused = [await client.post("/v1/chat/completions", json=body) for _ in range(20)]
    resource.prlimit(router.pid, resource.RLIMIT_NOFILE, limits)

    assert {answer.status_code for answer in refused} == {503}, refused[0].text
    assert all("file descriptors" in answer.text and answer.headers["retry-after"] for answer in refused)
    assert "overloaded" in router.stderr
    states = {model["state"] for model in router.get("/backends/status")["models"]}
    assert states == {"closed"}
    assert router.ask("after", "hello").status_code == 200
