"""Rules, tiers, escalation and overrides of a running router, in both dialects."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import orjson
import yaml
from aiohttp import web

from service.domain.basics import Json
from tests.e2e.conftest import NewRouter
from tests.e2e.running import PLAIN, RunningRouter

ANSWERS = {  # the text of each model, and the log probability of its tokens
    "weak": ("I don't know.", 0.0),
    "guessing": ("Perhaps it is 41.", -3.0),
    "strong": ("It is 42.", -0.1),
}


async def answer(request: web.Request) -> web.Response:
    body = orjson.loads(await request.read())
    text, logprob = ANSWERS[body["model"]]
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": "stop",
        "logprobs": {"content": [{"token": text, "logprob": logprob, "bytes": None, "top_logprobs": []}]},
    }
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    frame = {"id": "c", "created": 1, "object": "chat.completion", "model": body["model"]}
    return web.json_response({**frame, "choices": [choice], "usage": usage})


@asynccontextmanager
async def upstream() -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


def configuration(base_url: str) -> Json:
    models = [
        {"id": name, "provider": "openai", "model": name, "base_url": base_url, "price": price}
        for name, price in (
            ("weak", {"input": 1, "output": 1}),
            ("guessing", {"input": 2, "output": 2}),
            ("strong", {"input": 9, "output": 9}),
        )
    ]
    rules = [
        {"name": "research", "when": {"header": {"X-Team": "research"}}, "models": ["strong"]},
        {"name": "careful", "when": {"task": "careful"}, "tier": "low"},
    ]
    tiers = {"low": ["weak"], "middle": ["guessing"], "high": ["strong"]}
    policies = {"tiers": tiers, "rules": rules, "min_token_probability": round(math.exp(-1), 2)}
    return {"models": models, "policies": policies, "model_map": {"*haiku*": "low", "gpt-4": "strong"}}


async def test_a_running_router_follows_its_policies(new_router: NewRouter, tmp_path: Path) -> None:
    async with upstream() as base_url:
        file = tmp_path / "config.yaml"
        file.write_text(yaml.safe_dump(configuration(base_url), sort_keys=False))
        router = new_router(config_file=str(file), escalation="true")
        await asyncio.to_thread(router.start)
        await asyncio.to_thread(check_policies, router)


def check_policies(router: RunningRouter) -> None:
    by_header = post(router, "/v1/chat/completions", request_id="h", headers={"X-Team": "research"})
    routed = post(router, "/v1/route", headers={"X-Team": "research"})
    mapped = post(router, "/v1/chat/completions", model="gpt-4")
    escalated = post(router, "/v1/chat/completions", request_id="e", headers={"X-Router-Task": "careful"})
    haiku = post(router, "/v1/messages", request_id="m", model="claude-haiku-4-5", max_tokens=100)
    bad = post(router, "/v1/messages", model="auto", max_tokens=9, headers={"X-Backend": "nobody"})

    assert by_header.json()["model"] == mapped.json()["model"] == "strong"
    assert (routed.json()["rule"], routed.json()["tier"]) == ("research", "high")
    assert escalated.json()["choices"][0]["message"]["content"] == "It is 42."
    assert haiku.json()["content"][0]["text"] == "It is 42."
    assert bad.status_code == 400
    assert bad.json()["error"]["type"] == "invalid_request_error"
    assert "X-Backend" in bad.json()["error"]["message"]

    record = router.get("/requests/e")
    assert (record["rule"], record["tier"]) == ("careful", "low")
    assert [(a["model"], a["error_message"]) for a in record["attempts"]] == [
        ("weak", "unsure"),
        ("guessing", "improbable"),
        ("strong", None),
    ]
    assert router.get("/requests/m")["overridden_by"] == ["model_map"]
    assert (
        "research" not in orjson.dumps({**router.get("/requests/h"), "rule": None, "rejected": []}).decode()
    )


def post(
    router: RunningRouter,
    path: str,
    *,
    request_id: str | None = None,
    headers: dict[str, str] | None = None,
    **more: object,
) -> httpx.Response:
    ids = {} if request_id is None else {"X-Request-ID": request_id}
    body = {"messages": [{"role": "user", "content": "What is it?"}], **more}
    return httpx.post(f"{router.url}{path}", json=body, headers={**ids, **(headers or {})}, **PLAIN)
