"""A router that does not learn: real HTTP on loopback, a random arm, the endpoints that a replay needs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import numpy as np
from aiohttp import web

from service.domain.basics import Json

OVERHEAD_MS = 4.0


@dataclass(slots=True)
class FakeRouter:
    """Calls the arms of its settings, and records prompts, ratings and dollars.

    Args:
        settings: as in a configuration file.
        choose: the arm's id for a prompt; None: a random arm.
        fails_on: prompts that get a 503.
    """

    settings: Json
    choose: Callable[[str], str] | None = None
    fails_on: Callable[[str], bool] = lambda _: False
    prompts: list[str] = field(default_factory=list)
    ratings: dict[str, float] = field(default_factory=dict)
    costs_usd: dict[str, float] = field(default_factory=dict)
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_get("/backends/status", self._status)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_post("/feedback", self._feedback)
        app.router.add_get("/metrics/{request_id}", self._metrics)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def _status(self, _: web.Request) -> web.Response:
        return web.json_response({"models": [{"model": arm["id"]} for arm in self.settings["models"]]})

    async def _complete(self, request: web.Request) -> web.Response:
        body = await request.json()
        prompt = body["messages"][-1]["content"]
        self.prompts.append(prompt)
        if self.fails_on(prompt):
            return web.json_response({"error": {"message": "all arms failed"}}, status=503)
        arm = self._arm(prompt)
        async with aiohttp.ClientSession() as http:
            answer = await http.post(
                f"{arm['base_url']}/chat/completions", json={**body, "model": arm["model"]}
            )
            payload: dict[str, Any] = await answer.json()
        usage, price = payload["usage"], arm["price"]
        cost = price["input"] * usage["prompt_tokens"] + price["output"] * usage["completion_tokens"]
        self.costs_usd[request.headers["X-Request-ID"]] = cost / 1e6
        return web.json_response(payload, headers={"X-Router-Model": arm["id"]})

    def _arm(self, prompt: str) -> Json:
        arms: list[Json] = self.settings["models"]
        if self.choose is None:
            return arms[int(self.rng.integers(len(arms)))]
        chosen = self.choose(prompt)
        return next(arm for arm in arms if arm["id"] == chosen)

    async def _feedback(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.ratings[body["request_id"]] = body["score"]
        return web.json_response({"status": "applied"})

    async def _metrics(self, request: web.Request) -> web.Response:
        cost_usd = self.costs_usd[request.match_info["request_id"]]
        numbers = {"cost_usd": cost_usd, "latency_ms": 9.0, "ttft_ms": None, "overhead_ms": OVERHEAD_MS}
        return web.json_response(numbers)
