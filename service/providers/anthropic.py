"""Calls Anthropic for clients that use its dialect: their body goes up and Anthropic's bytes come back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from functools import partial

from service.domain.answer import Answer, Burst
from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.ports import Clock
from service.domain.proxies import Proxies
from service.domain.query import Native
from service.domain.usage import with_stated_cost
from service.providers.anthropic_repairs import NATIVE_REPAIRS
from service.providers.bursts import bursts
from service.providers.http import HttpClient, Post
from service.providers.keys import anthropic_headers, api_key
from service.providers.normaliser.asked import Asked
from service.providers.normaliser.message_stream import MessageStream, read_message
from service.providers.repairs import Repairs

ANTHROPIC_BASE_URL = "https://api.anthropic.com"


class AnthropicClient:
    """Anthropic's Messages API, for requests in Anthropic's dialect.

    The client changes the name of the model and the forms that the server refuses. It reads the answer for
    usage and log.

    Args:
        secrets: where `api_key_env` and the proxies are looked up, usually the environment.
        clock: the current time, to read dates in `Retry-After`.
    """

    def __init__(self, secrets: Mapping[str, str], clock: Clock) -> None:
        self._secrets = secrets
        self._http = HttpClient(clock, Proxies.of(secrets))
        self._repairs = Repairs(NATIVE_REPAIRS)

    async def complete(self, arm: Arm, native: Native, *, timeout_s: float) -> Answer:
        call = partial(self._answer, arm, native)
        return await self._repairs.complete(arm, native.body, call, timeout_s=timeout_s)

    def stream(self, arm: Arm, native: Native, *, timeout_s: float) -> AsyncGenerator[Burst, None]:
        call = partial(self._answer_in_events, arm, native, timeout_s)
        return self._repairs.stream(arm, native.body, call)

    async def _answer(self, arm: Arm, native: Native, body: Json, timeout_s: float) -> Answer:
        """The answer to the client's request with this body."""
        post = self._post(arm, replace(native, body=body), stream=False, timeout_s=timeout_s)
        reply = await self._http.answer(post)
        answer = read_message(self._asked(post), reply.body)
        return replace(answer, usage=with_stated_cost(answer.usage, reply.stated_cost_usd))

    def _answer_in_events(
        self, arm: Arm, native: Native, timeout_s: float, body: Json
    ) -> AsyncGenerator[Burst, None]:
        post = self._post(arm, replace(native, body=body), stream=True, timeout_s=timeout_s)
        return bursts(self._http.events(post), MessageStream(self._asked(post)))

    async def close(self) -> None:
        await self._http.close()

    def _asked(self, post: Post) -> Asked:
        return Asked(post.arm, post.body, partial(self._http.refusal, post))

    def _post(self, arm: Arm, native: Native, *, stream: bool, timeout_s: float) -> Post:
        key = api_key(arm, self._secrets)
        return Post(
            arm=arm,
            url=f"{(arm.base_url or ANTHROPIC_BASE_URL).rstrip('/')}/v1/messages",
            headers={**native.headers, **anthropic_headers(arm, key)},
            body={**native.body, "model": arm.model, "stream": stream},
            timeout_s=timeout_s,
            silence_s=arm.patience_s(stream=stream),
            secret=key,
        )
