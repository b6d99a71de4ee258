"""Calls models whose key is the token of a login, and renews the token once if the provider refuses it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from dataclasses import replace

from service.domain.answer import Answer, Burst
from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.credentials import Credential
from service.domain.oauth import AccessTokens
from service.domain.ports import ModelClient
from service.domain.query import Native
from service.errors import ProviderError, ProviderTimeout

UNAUTHORIZED = 401


class LoggedInClient:
    """A ModelClient in front of another one. Arms without `auth` pass through."""

    def __init__(self, client: ModelClient, tokens: AccessTokens) -> None:
        self._client = client
        self._tokens = tokens

    async def complete(
        self, arm: Arm, body: Json, *, timeout_s: float, native: Native | None = None
    ) -> Answer:
        if arm.auth is None:
            return await self._client.complete(arm, body, timeout_s=timeout_s, native=native)
        left = _TimeLeft(arm, timeout_s)
        token = await left.wait(self._tokens.token(arm.auth))
        try:
            return await self._client.complete(_with(arm, token), body, timeout_s=left.s(), native=native)
        except ProviderError as error:
            if error.status != UNAUTHORIZED:
                raise
        token = await left.wait(self._tokens.renewed(arm.auth, token))
        return await self._client.complete(_with(arm, token), body, timeout_s=left.s(), native=native)

    async def stream(
        self, arm: Arm, body: Json, *, timeout_s: float, native: Native | None = None
    ) -> AsyncGenerator[Burst, None]:
        has_begun, token, left = False, None, _TimeLeft(arm, timeout_s)
        if arm.auth is not None:
            token = await left.wait(self._tokens.token(arm.auth))
        while True:
            called = arm if token is None else _with(arm, token)
            try:
                stream = self._client.stream(called, body, timeout_s=timeout_s, native=native)
                async with aclosing(stream) as bursts:
                    async for burst in bursts:
                        has_begun = True
                        yield burst
                return
            except ProviderError as error:
                if has_begun or token is None or arm.auth is None or error.status != UNAUTHORIZED:
                    raise
                has_begun = True  # a second refusal is final
            token = await left.wait(self._tokens.renewed(arm.auth, token))

    async def close(self) -> None:
        await self._client.close()


class _TimeLeft:
    """The time of a call, of which its token may use some."""

    def __init__(self, arm: Arm, timeout_s: float) -> None:
        self._arm = arm
        self._timeout_s = timeout_s
        self._clock = asyncio.get_running_loop().time
        self._until = self._clock() + timeout_s

    def s(self) -> float:
        """Seconds left."""
        return max(0.0, self._until - self._clock())

    async def wait(self, token: Coroutine[None, None, str]) -> str:
        try:
            async with asyncio.timeout(self.s()):
                return await token
        except TimeoutError:
            message = f"{self._arm.model} could not be called within {self._timeout_s:g} s: no token came"
            raise ProviderTimeout(message) from None


def _with(arm: Arm, token: str) -> Arm:
    return replace(arm, key=Credential(token, is_bearer=True))
