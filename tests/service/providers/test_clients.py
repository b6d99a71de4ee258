from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncGenerator

from service.domain.answer import Answer, Burst, Chunk, Usage
from service.domain.arm import Arm
from service.domain.basics import Json
from service.providers.clients import ProviderClients, build_provider_clients
from service.providers.simulator.simulator import SIMULATED_ARMS, SimulatedClient
from tests.service.providers.scripted import BODY, NOW, SECRETS, Upstream, answers, completion


class Recorder:
    """Answers with nothing, and records the arms of its calls."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self.n_closed = 0

    async def complete(self, arm: Arm, body: Json, *, timeout_s: float) -> Answer:
        self.called.append(arm.arm_id)
        return Answer({}, Usage())

    async def stream(self, arm: Arm, body: Json, *, timeout_s: float) -> AsyncGenerator[Burst, None]:
        self.called.append(arm.arm_id)
        yield [Chunk({})]

    async def close(self) -> None:
        self.n_closed += 1


async def test_each_arm_is_called_by_its_provider() -> None:
    first, second = Recorder(), Recorder()
    provider_clients = ProviderClients({"openai": first, "simulator": second})

    await provider_clients.complete(Arm("a", "openai", "m"), BODY, timeout_s=1)
    await anext(provider_clients.stream(Arm("b", "simulator", "m"), BODY, timeout_s=1))

    assert (first.called, second.called) == (["a"], ["b"])


async def test_an_adapter_of_two_providers_is_closed_once() -> None:
    model_client = Recorder()

    await ProviderClients({"anthropic": model_client, "litellm": model_client}).close()

    assert model_client.n_closed == 1


async def test_the_built_clients_reach_simulator_and_upstream(upstream: Upstream) -> None:
    upstream.script = answers(completion("from afar"))
    provider_clients = build_provider_clients(SECRETS, lambda: NOW, simulator=SimulatedClient(time_scale=0))

    simulated = await provider_clients.complete(SIMULATED_ARMS[0], BODY, timeout_s=5)
    real = await provider_clients.complete(upstream.arm(), BODY, timeout_s=5)
    await provider_clients.close()

    assert "simulated" in simulated.body["choices"][0]["message"]["content"]
    assert real.body["choices"][0]["message"]["content"] == "from afar"


WARMED = """
import asyncio, sys
from service.providers.clients import build_provider_clients
from service.providers.simulator.simulator import SimulatedClient

clients = build_provider_clients({}, None, simulator=SimulatedClient())
asyncio.run(clients.warm({"openai", "simulator"}))
print("litellm" in sys.modules)
asyncio.run(clients.warm({"anthropic", "openai"}))
print("litellm" in sys.modules)
"""


def test_a_slow_library_is_loaded_in_advance_if_a_model_needs_it() -> None:
    done = subprocess.run([sys.executable, "-c", WARMED], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["False", "True"]
