"""Calls any upstream that implements OpenAI's Chat Completions: OpenAI, OpenRouter, Ollama, vLLM, ..."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from functools import partial

from service.domain.answer import Answer, Burst
from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.ports import Clock
from service.domain.proxies import Proxies
from service.domain.usage import with_stated_cost
from service.providers.bursts import bursts
from service.providers.http import HttpClient, Post
from service.providers.keys import api_key
from service.providers.normaliser.asked import Asked
from service.providers.normaliser.stream import StreamNormaliser
from service.providers.normaliser.whole import read
from service.providers.openai_repairs import openai_repairs
from service.providers.openai_request import ENDPOINT, base_url, upstream_body
from service.providers.reasoning_forms import ReasoningForms
from service.providers.repairs import Repairs
from service.providers.think_tags import TagCutter


class OpenAICompatibleClient:
    """The direct adapter: the client's body goes up and the upstream's comes back.

    Args:
        secrets: where `api_key_env` and the proxies are looked up, usually the environment.
        clock: the current time, to read dates in `Retry-After`.
    """

    def __init__(self, secrets: Mapping[str, str], clock: Clock) -> None:
        self._secrets = secrets
        self._http = HttpClient(clock, Proxies.of(secrets))
        self._repairs = Repairs(openai_repairs())
        self._reasoning = ReasoningForms()

    async def complete(self, arm: Arm, body: Json, *, timeout_s: float) -> Answer:
        request = self._reasoning.sent(arm, upstream_body(arm, body, stream=False))
        return await self._repairs.complete(arm, request, partial(self._answer, arm), timeout_s=timeout_s)

    def stream(self, arm: Arm, body: Json, *, timeout_s: float) -> AsyncGenerator[Burst, None]:
        request = self._reasoning.sent(arm, upstream_body(arm, body, stream=True))
        return self._repairs.stream(arm, request, partial(self._answer_in_chunks, arm, timeout_s))

    async def _answer(self, arm: Arm, request: Json, timeout_s: float) -> Answer:
        post = self._post(arm, request, timeout_s)
        reply = await self._http.answer(post)
        cutter = TagCutter(request)
        answer = cutter.answer(read(self._asked(post), reply.body))
        self._reasoning.saw(arm, cutter.form)
        if reply.stated_cost_usd is None:
            return answer
        return replace(answer, usage=with_stated_cost(answer.usage, reply.stated_cost_usd))

    async def _answer_in_chunks(
        self, arm: Arm, timeout_s: float, request: Json
    ) -> AsyncGenerator[Burst, None]:
        post = self._post(arm, request, timeout_s)
        normaliser, cutter = StreamNormaliser(self._asked(post)), TagCutter(request)
        async with aclosing(bursts(self._http.events(post), normaliser, cutter.chunk)) as answer:
            async for burst in answer:
                yield burst
        self._reasoning.saw(arm, cutter.form)

    async def close(self) -> None:
        await self._http.close()

    def _post(self, arm: Arm, body: Json, timeout_s: float) -> Post:
        key = api_key(arm, self._secrets)
        return Post(
            arm=arm,
            url=f"{base_url(arm)}{ENDPOINT}",
            headers={} if key is None else {"Authorization": f"Bearer {key}"},
            body=body,
            timeout_s=timeout_s,
            silence_s=arm.patience_s(stream=body["stream"]),
            secret=key,
        )

    def _asked(self, post: Post) -> Asked:
        return Asked(post.arm, post.body, partial(self._http.refusal, post))
