"""A provider on this machine whose models answer as a test scripts it, called through the real clients."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np
from aiohttp import web

from service.calibration.calls import PaidCalls
from service.calibration.cap import SpendingCap
from service.calibration.journal import CallJournal
from service.calibration.prompts import CalibrationPrompt, prompt_of
from service.domain.arm import Arm, Price
from service.providers.clients import ProviderClients, build_provider_clients
from service.providers.simulator.simulator import SimulatedClient
from tests.fakes import FixedClock
from tests.service.providers.scripted import Upstream, answers, completion, serving

PRICE = Price(Decimal(1), Decimal(10))
USAGE = {"prompt_tokens": 100, "completion_tokens": 40}
COST_USD = Decimal("0.0005")  # of USAGE at PRICE


@dataclass
class Provider:
    """The provider and its clients. Answers are scripted by the model's name at the provider."""

    upstream: Upstream
    clients: ProviderClients
    clock: FixedClock = field(default_factory=FixedClock)
    waited_s: list[float] = field(default_factory=list)

    def arm(self, arm_id: str, *, price: Price | None = PRICE, **more: Any) -> Arm:
        more = {"provider": "openai", "model": arm_id, "base_url": f"{self.upstream.base_url}/v1", **more}
        return Arm(arm_id, price=price, **more)

    def says(self, model: str, text: str, **more: object) -> None:
        """Have the model always give this answer."""
        self.upstream.by_model[model] = answers(completion(text, usage=USAGE, **more))

    def asked(self, model: str) -> int:
        """The number of calls of the model."""
        return sum(body["model"] == model for body in self.upstream.bodies)

    def calls(
        self, *, max_usd: str | None = None, journal: CallJournal | None = None, **more: Any
    ) -> PaidCalls:
        journal = CallJournal() if journal is None else journal
        options = {"max_answer_tokens": 1000, "concurrency": 4, "timeout_s": 30.0, **more}
        return PaidCalls(
            self.clients,
            journal,
            SpendingCap(None if max_usd is None else Decimal(max_usd), journal.spent_usd),
            self.clock,
            np.random.default_rng(0),
            sleep=self._sleep,
            **options,
        )

    async def _sleep(self, seconds: float) -> None:
        self.waited_s.append(seconds)


@asynccontextmanager
async def providing() -> AsyncIterator[Provider]:
    async with serving() as upstream:
        clock = FixedClock()
        clients = build_provider_clients({}, clock, simulator=SimulatedClient())
        try:
            yield Provider(upstream, clients, clock)
        finally:
            await clients.close()


def prompts(*texts: str, **more: object) -> list[CalibrationPrompt]:
    return [prompt_of({"prompt": text, **more}) for text in texts]


def in_turn(*scripts: Callable[[web.Request], Any]) -> Callable[[web.Request], Any]:
    """A script that follows each of these in turn, and the last one from then on."""
    left = list(scripts)

    async def script(request: web.Request) -> web.StreamResponse:
        step = left.pop(0) if len(left) > 1 else left[0]
        response: web.StreamResponse = await step(request)
        return response

    return script
