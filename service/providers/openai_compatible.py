"""Calls any upstream that implements OpenAI's Chat Completions: OpenAI, OpenRouter, Ollama, vLLM, ..."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from functools import partial
from urllib.parse import urlsplit

from service.domain.answer import Answer, Chunk
from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.ports import Clock
from service.domain.proxies import Proxies
from service.errors import ProviderError
from service.providers.http import HttpClient, Post, drain
from service.providers.keys import api_key
from service.providers.normaliser.asked import Asked
from service.providers.normaliser.stream import StreamNormaliser
from service.providers.normaliser.whole import normalised
from service.providers.tool_ids import with_nine_letters

ENDPOINT = "/chat/completions"
OPENAI_BASE_URL = "https://api.openai.com/v1"
MISTRAL_HOST = "api.mistral.ai"

# Every documented field of the request; other fields go up only if the arm lists them.
# The router sets `stream` and `model`.
FIELDS = frozenset(
    {
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "metadata",
        "modalities",
        "moderation",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
        "web_search_options",
    }
)


class OpenAICompatibleClient:
    """The direct adapter: the client's body goes up and the upstream's comes back.

    Args:
        secrets: where `api_key_env` and the proxies are looked up, usually the environment.
        clock: the current time, to read dates in `Retry-After`.
    """

    def __init__(self, secrets: Mapping[str, str], clock: Clock) -> None:
        self._secrets = secrets
        self._http = HttpClient(clock, Proxies.of(secrets))

    async def complete(self, arm: Arm, body: Json, *, timeout_s: float) -> Answer:
        post = self._post(arm, _upstream_body(arm, body, stream=False), timeout_s)
        return normalised(self._asked(post, body), await self._http.answer(post))

    async def stream(self, arm: Arm, body: Json, *, timeout_s: float) -> AsyncGenerator[Chunk, None]:
        post = self._post(arm, _upstream_body(arm, body, stream=True), timeout_s)
        normaliser = StreamNormaliser(self._asked(post, body))
        async with aclosing(self._events(post, normaliser)) as events:
            async for data in events:
                for chunk in normaliser.event(data):
                    yield chunk
                if normaliser.is_done:
                    await drain(events)
                    break
        for chunk in normaliser.end():
            yield chunk

    async def close(self) -> None:
        await self._http.close()

    async def _events(self, post: Post, normaliser: StreamNormaliser) -> AsyncGenerator[bytes, None]:
        """The events of a stream; a connection that is lost after the whole answer is no error."""
        async with aclosing(self._http.events(post)) as events:
            try:
                async for data in events:
                    yield data
            except ProviderError:
                if not normaliser.is_whole:
                    raise

    def _post(self, arm: Arm, body: Json, timeout_s: float) -> Post:
        key = api_key(arm, self._secrets)
        return Post(
            arm=arm,
            url=f"{_base_url(arm)}{ENDPOINT}",
            headers={} if key is None else {"Authorization": f"Bearer {key}"},
            body=body,
            timeout_s=timeout_s,
            secret=key,
        )

    def _asked(self, post: Post, body: Json) -> Asked:
        return Asked(post.arm, body, partial(self._http.refusal, post))


def _base_url(arm: Arm) -> str:
    """The base URL; one that ends with the endpoint is of a server that answers at its root."""
    return (arm.base_url or OPENAI_BASE_URL).rstrip("/").removesuffix(ENDPOINT)


def _upstream_body(arm: Arm, body: Json, *, stream: bool) -> Json:
    upstream = {name: value for name, value in body.items() if name in FIELDS | arm.extra_fields}
    upstream["model"] = arm.model
    upstream["stream"] = stream
    upstream.pop("stream_options", None)
    if stream:
        upstream["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    if urlsplit(_base_url(arm)).hostname == MISTRAL_HOST:
        upstream["messages"] = with_nine_letters(body["messages"])
    if _base_url(arm) == OPENAI_BASE_URL and "max_tokens" in upstream:
        # OpenAI's reasoning models reject the old name, and all its models know the new one.
        # Many other servers know only the old name.
        upstream.setdefault("max_completion_tokens", upstream.pop("max_tokens"))
    return upstream
