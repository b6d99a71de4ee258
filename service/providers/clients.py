"""One model client for all arms: it passes each call to the adapter of the arm's provider."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import aclosing
from typing import Protocol

from service.domain.answer import Answer, Burst
from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.ports import Clock
from service.domain.query import Native
from service.errors import ProviderRejected
from service.providers.anthropic import AnthropicClient
from service.providers.default_options import DefaultOptions
from service.providers.fitting import Fitted, fitted
from service.providers.litellm import LiteLLMClient
from service.providers.openai_compatible import OpenAICompatibleClient
from service.providers.restored import Restored
from service.providers.simulator.simulator import SimulatedClient


class Adapter(Protocol):
    """A ModelClient for OpenAI's dialect only."""

    async def complete(self, arm: Arm, body: Json, *, timeout_s: float) -> Answer: ...

    def stream(self, arm: Arm, body: Json, *, timeout_s: float) -> AsyncGenerator[Burst, None]: ...

    async def close(self) -> None: ...


class NativeAdapter(Protocol):
    """A ModelClient for queries in its provider's own dialect."""

    async def complete(self, arm: Arm, native: Native, *, timeout_s: float) -> Answer: ...

    def stream(self, arm: Arm, native: Native, *, timeout_s: float) -> AsyncGenerator[Burst, None]: ...

    async def close(self) -> None: ...


class ProviderClients:
    """A ModelClient made of adapters.

    Args:
        by_provider: `Arm.provider` -> its adapter; one adapter may serve several providers.
        native: `Arm.provider` -> its adapter for queries in the provider's own dialect.
        defaults: values for options that a request leaves out.
    """

    def __init__(
        self,
        by_provider: Mapping[str, Adapter],
        native: Mapping[str, NativeAdapter] | None = None,
        defaults: DefaultOptions | None = None,
    ) -> None:
        self._defaults = DefaultOptions() if defaults is None else defaults
        self._by_provider = dict(by_provider)
        self._native = dict(native or {})

    async def warm(self, providers: Collection[str]) -> None:
        """Load libraries that these providers need and that are slow to load."""
        for adapter in {self._by_provider[provider] for provider in providers}:
            if isinstance(adapter, LiteLLMClient):
                await adapter.warm()

    async def complete(
        self, arm: Arm, body: Json, *, timeout_s: float, native: Native | None = None
    ) -> Answer:
        clock = asyncio.get_running_loop().time
        until = clock() + timeout_s
        while True:
            sent, sent_native = self._filled(arm, body, native)
            try:
                return await self._complete(arm, sent, until - clock(), sent_native)
            except ProviderRejected as rejection:
                if clock() >= until or not self._refuse(arm, (body, native), (sent, sent_native), rejection):
                    raise

    async def stream(
        self, arm: Arm, body: Json, *, timeout_s: float, native: Native | None = None
    ) -> AsyncGenerator[Burst, None]:
        has_begun = False
        while True:
            sent, sent_native = self._filled(arm, body, native)
            try:
                fit = fitted(arm, sent, sent_native)
                restored = Restored(sent, fit.body, fit.notes)
                async with aclosing(self._opened(arm, fit, timeout_s)) as bursts:
                    async for burst in bursts:
                        if burst := restored.burst(burst):
                            has_begun = True
                            yield burst
                        if restored.is_done:
                            return
                return
            except ProviderRejected as rejection:
                if has_begun or not self._refuse(arm, (body, native), (sent, sent_native), rejection):
                    raise

    def _filled(self, arm: Arm, body: Json, native: Native | None) -> tuple[Json, Native | None]:
        return self._defaults.filled(arm, body), self._defaults.filled_native(arm, native)

    def _refuse(
        self,
        arm: Arm,
        asked: tuple[Json, Native | None],
        sent: tuple[Json, Native | None],
        rejection: ProviderRejected,
    ) -> bool:
        (body, native), (sent_body, sent_native) = asked, sent
        if native is not None and sent_native is not None and arm.provider in self._native:
            body, sent_body = native.body, sent_native.body
        return self._defaults.refuse(arm, body, sent_body, rejection)

    async def _complete(self, arm: Arm, body: Json, timeout_s: float, native: Native | None) -> Answer:
        fit = fitted(arm, body, native)
        if (adapter := self._native_adapter(arm, fit.native)) is not None and fit.native is not None:
            answer = await adapter.complete(arm, fit.native, timeout_s=timeout_s)
        else:
            answer = await self._by_provider[arm.provider].complete(arm, fit.body, timeout_s=timeout_s)
        return Restored(body, fit.body, fit.notes).answer(answer)

    def _opened(self, arm: Arm, fit: Fitted, timeout_s: float) -> AsyncGenerator[Burst, None]:
        if (adapter := self._native_adapter(arm, fit.native)) is not None and fit.native is not None:
            return adapter.stream(arm, fit.native, timeout_s=timeout_s)
        return self._by_provider[arm.provider].stream(arm, fit.body, timeout_s=timeout_s)

    def _native_adapter(self, arm: Arm, native: Native | None) -> NativeAdapter | None:
        return None if native is None else self._native.get(arm.provider)

    async def close(self) -> None:
        for adapter in set(self._by_provider.values()):
            await adapter.close()
        for native in self._native.values():
            await native.close()


def build_provider_clients(
    secrets: Mapping[str, str],
    clock: Clock,
    *,
    simulator: SimulatedClient,
    defaults: DefaultOptions | None = None,
) -> ProviderClients:
    """Build the client for every value of `Arm.provider`.

    Args:
        secrets: where an arm's `api_key_env` is looked up, usually the environment.
        defaults: values for options that a request leaves out.
    """
    litellm = LiteLLMClient(secrets, clock)
    return ProviderClients(
        {
            "openai": OpenAICompatibleClient(secrets, clock),
            "anthropic": litellm,
            "litellm": litellm,
            "simulator": simulator,
        },
        native={"anthropic": AnthropicClient(secrets, clock)},
        defaults=defaults,
    )
