"""Prices from the provider's own list, costs that it states, and what nobody knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import web

from service.domain.basics import Json
from tests.e2e.conftest import NewRouter
from tests.e2e.running import RunningRouter

Serve = Callable[..., RunningRouter]
TOKENS = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
COSTS: dict[str, Json] = {
    "lab/listed": {},
    "lab/unlisted": {},
    "lab/stating": {"cost": 0.0123},
    "lab/own-key": {"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.02}},
    "lab/listed:free": {"cost": 0},
}
LIST = {
    "data": [
        {
            "id": "lab/listed",
            "pricing": {"prompt": "0.000004", "completion": "0.000008"},
            "context_length": 9000,
        },
        {"id": "lab/listed:free", "pricing": {"prompt": "0", "completion": "0"}},
        {"id": "lab/unlisted", "pricing": {"prompt": "-1", "completion": "-1"}},
        {"id": "lab/broken", "pricing": None},
    ]
}


class Provider:
    """OpenRouter, as far as its prices go."""

    def __init__(self) -> None:
        self.list_status = 200
        self.n_lists = 0
        self.url = ""

    async def models(self, request: web.Request) -> web.Response:
        self.n_lists += 1
        return web.json_response(LIST, status=self.list_status)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        usage = {**TOKENS, **COSTS[body["model"]]}
        frame = {"id": "c", "created": 1, "model": body["model"]}
        if not body["stream"]:
            message = {"role": "assistant", "content": "So."}
            choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
            return web.json_response(
                {**frame, "object": "chat.completion", "choices": choices, "usage": usage}
            )
        frame["object"] = "chat.completion.chunk"
        choice = {"index": 0, "delta": {"role": "assistant", "content": "So."}, "finish_reason": "stop"}
        events = [{**frame, "choices": [choice]}, {**frame, "choices": [], "usage": usage}]
        lines = b"".join(b"data: %s\n\n" % orjson.dumps(event) for event in events)
        return web.Response(body=lines + b"data: [DONE]\n\n", content_type="text/event-stream")


@asynccontextmanager
async def provider() -> AsyncIterator[Provider]:
    provider = Provider()
    app = web.Application()
    app.router.add_get("/v1/models", provider.models)
    app.router.add_post("/v1/chat/completions", provider.answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        provider.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        yield provider
    finally:
        await runner.cleanup()


def settings(provider: Provider, **more: str) -> dict[str, str]:
    return {
        "openrouter_api_key": "sk-none",
        "openrouter_base_url": provider.url,
        "llm_models": ",".join(COSTS),
        "check_keys": "false",  # which would list the models too
        **more,
    }


def asked(router: RunningRouter, request_id: str, model: str, **more: Any) -> Json:
    """The only attempt of a request for that model."""
    answer = router.ask(request_id, "Why?", model=model, **more)
    assert answer.status_code == 200, answer.text
    [attempt] = router.get(f"/requests/{request_id}")["attempts"]
    found: Json = attempt
    return found


async def test_costs_are_stated_or_priced_or_unknown_and_never_zero_by_mistake(serve: Serve) -> None:
    async with provider() as upstream:
        router = await asyncio.to_thread(serve, **settings(upstream))
        await asyncio.to_thread(check_costs, router)

    assert upstream.n_lists == 1


def check_costs(router: RunningRouter) -> None:
    expected = {
        "lab/listed": (0.008, "price"),
        "lab/unlisted": (None, "unknown"),
        "lab/stating": (0.0123, "provider"),
        "lab/own-key": (0.02, "provider"),
        "lab/listed:free": (0.0, "price"),
    }
    for i, (model, cost) in enumerate(expected.items()):
        whole = asked(router, f"whole-{i}", model)
        streamed = asked(router, f"stream-{i}", model, stream=True)
        assert (whole["cost_usd"], whole["cost_source"]) == cost
        assert (streamed["cost_usd"], streamed["cost_source"]) == cost

    stats = router.get("/v1/stats")
    by_model = {entry["model"]: entry for entry in stats["per_model"]}
    assert by_model["lab/unlisted"]["cost_usd"] is None
    assert by_model["lab/listed:free"]["cost_usd"] == 0
    assert stats["total"]["requests_of_unknown_cost"] == 2
    assert stats["total"]["cost_usd"] == 2 * (0.008 + 0.0123 + 0.02)

    health = router.get("/health")
    assert health["status"] == "ok"
    assert [w.split(" is not known")[0] for w in health["warnings"]] == [
        f"the price of {model}" for model in ("lab/unlisted", "lab/stating", "lab/own-key")
    ]
    assert "lab/listed  $4 in, $8 out per million tokens" in router.stdout
    assert "lab/listed:free  free" in router.stdout
    assert "lab/unlisted  price UNKNOWN" in router.stdout
    assert "WARNING: the price of lab/unlisted is not known" in router.stdout


async def test_a_start_without_the_list_works_and_says_so(serve: Serve) -> None:
    async with provider() as upstream:
        upstream.list_status = 500
        router = await asyncio.to_thread(serve, **settings(upstream))
        warnings = (await asyncio.to_thread(router.get, "/health"))["warnings"]
        attempt = await asyncio.to_thread(asked, router, "r", "lab/listed")

    assert "the price list of 127.0.0.1 could not be read" in warnings[0]
    assert "500" in warnings[0]
    assert (attempt["cost_usd"], attempt["cost_source"]) == (None, "unknown")


async def test_price_lists_can_be_switched_off(serve: Serve) -> None:
    async with provider() as upstream:
        await asyncio.to_thread(serve, **settings(upstream, price_lists="false"))

    assert upstream.n_lists == 0


async def test_with_a_budget_the_start_is_refused_until_every_price_is_known(new_router: NewRouter) -> None:
    async with provider() as upstream:
        router = new_router(**settings(upstream, budget_usd_per_request="0.01"))
        refused = await asyncio.to_thread(router.run, "serve")

    assert refused.returncode != 0
    assert "BUDGET_USD_PER_REQUEST needs the price of every model" in refused.stderr
    assert "lab/unlisted, lab/stating, lab/own-key is not known" in refused.stderr
    assert "price: free" in refused.stderr
