"""One caller for all arms: each call goes to the adapter of the arm's provider."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping

from service.ports import Clock, ModelCaller
from service.providers.litellm import LiteLLMCaller
from service.providers.openai_compatible import OpenAICompatibleCaller
from service.providers.simulator import SimulatedCaller
from service.types import Answer, Arm, Chunk, Json


class Callers:
    """A ModelCaller made of others.

    Args:
        by_provider: `Arm.provider` -> who calls it; one caller may stand for several providers.
    """

    def __init__(self, by_provider: Mapping[str, ModelCaller]) -> None:
        self._by_provider = dict(by_provider)

    async def complete(self, arm: Arm, body: Json, *, timeout_s: float) -> Answer:
        return await self._by_provider[arm.provider].complete(arm, body, timeout_s=timeout_s)

    def stream(self, arm: Arm, body: Json, *, timeout_s: float) -> AsyncGenerator[Chunk, None]:
        return self._by_provider[arm.provider].stream(arm, body, timeout_s=timeout_s)

    async def close(self) -> None:
        for caller in set(self._by_provider.values()):
            await caller.close()


def build_callers(secrets: Mapping[str, str], clock: Clock, *, simulator: SimulatedCaller) -> Callers:
    """Every provider that `Arm.provider` may name.

    Args:
        secrets: where an arm's `api_key_env` is looked up; the environment, usually.
    """
    litellm = LiteLLMCaller(secrets, clock)
    return Callers(
        {
            "openai": OpenAICompatibleCaller(secrets, clock),
            "anthropic": litellm,
            "litellm": litellm,
            "simulator": simulator,
        }
    )
