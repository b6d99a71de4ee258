"""Whatever was acknowledged is kept, whenever the process dies."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
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
    """What the callers were told is done."""

    answers: list[str] = field(default_factory=list)
    feedbacks: list[tuple[str, float]] = field(default_factory=list)
    others: list[str] = field(default_factory=list)  # problems other than a connection that broke


async def test_twenty_kills_under_load_lose_nothing_that_was_acknowledged(
    serve: Serve, outcomes: Outcomes, workplace: Path
) -> None:
    rng = random.Random(20)
    told = Acknowledged()
    async with RecordedUpstream(outcomes) as upstream:
        config = workplace / "kills.json"  # JSON is YAML
        config.write_text(json.dumps(router_settings(outcomes, upstream.base_url)))
        router = await asyncio.to_thread(serve, config_file=str(config), log_level="error")
        for kill in range(N_KILLS):
            async with router.async_client() as client, httpx.AsyncClient(base_url=router.url) as plain:
                provider_clients = [
                    asyncio.create_task(_call(f"{kill}-{i}", client, plain, outcomes, rng, told))
                    for i in range(N_CLIENTS)
                ]
                await asyncio.sleep(rng.uniform(0.0, 0.4))  # the moment is what is tested
                router.kill()
                await asyncio.gather(*provider_clients)
            await asyncio.to_thread(router.start)

        await asyncio.to_thread(_caught_up, router)
        await _assert_kept(router, told)
        code = await asyncio.to_thread(router.interrupt)
        checked = await asyncio.to_thread(router.run, "rebuild", "--check")

    assert told.others == []
    assert len(told.answers) > N_KILLS
    assert len(told.feedbacks) > N_KILLS
    assert code == 0
    assert CLEAN in checked.stdout


async def _call(
    name: str,
    client: AsyncOpenAI,
    plain: httpx.AsyncClient,
    outcomes: Outcomes,
    rng: random.Random,
    told: Acknowledged,
) -> None:
    """Ask and rate until the router is gone."""
    for turn in range(10_000):
        request_id = f"kill-{name}-{turn}"
        prompt = outcomes.prompts[rng.randrange(len(outcomes.prompts))]
        try:
            await _ask(client, request_id, prompt, is_stream=turn % 2 == 0)
            told.answers.append(request_id)
            body = {"request_id": request_id, "score": turn % 5 / 4}
            rated = await plain.post("/feedback", json=body)
            if rated.status_code == 202:
                told.feedbacks.append((request_id, turn % 5 / 4))
            else:
                told.others.append(rated.text)
        except (openai.APIConnectionError, httpx.TransportError):
            return
        except openai.APIError as error:
            told.others.append(str(error))


async def _ask(client: AsyncOpenAI, request_id: str, prompt: str, *, is_stream: bool) -> None:
    """Returns when the answer is whole."""
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


def _caught_up(router: RunningRouter) -> None:
    eventually(lambda: router.fetch("SELECT count(*) FROM memory_queue") == 0)


async def _assert_kept(router: RunningRouter, told: Acknowledged) -> None:
    scores = dict(told.feedbacks)
    async with httpx.AsyncClient(base_url=router.url) as plain:
        for request_id in told.answers:
            record = (await plain.get(f"/requests/{request_id}")).raise_for_status().json()
            assert record["outcome"]["status"] == "ok"
            assert [attempt["status"] for attempt in record["attempts"]] == ["ok"]
            if request_id in scores:
                assert [event["score"] for event in record["feedback"]] == [scores[request_id]]


def test_without_its_postgresql_it_answers_and_a_restart_recovers_everything(serve: Serve) -> None:
    router = serve(log_level="error")
    assert router.ask("before", "hello").status_code == 200
    assert router.rate("before", 1.0).status_code == 202

    postmaster = router.postgres_pid()
    assert postmaster is not None
    os.kill(postmaster, signal.SIGKILL)
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
