"""Calls every other provider through the LiteLLM library.

LiteLLM takes two seconds and 170 MB to import, so the first call imports it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Mapping
from contextvars import ContextVar
from functools import partial
from types import ModuleType
from typing import Any

from service.domain.answer import Answer, Burst
from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.ports import Clock
from service.domain.usage import reported
from service.domain.usage_report import usage_from
from service.errors import ProviderBroken, ProviderError, ProviderRejected
from service.providers.fitting_table import table
from service.providers.keys import BEARER, NO_KEY, api_key, key_for_litellm
from service.providers.litellm_anthropic import corrected
from service.providers.litellm_errors import translated
from service.providers.normaliser.asked import Asked
from service.providers.normaliser.stream import StreamNormaliser
from service.providers.normaliser.whole import normalised
from service.providers.openai_repairs import openai_repairs
from service.providers.repairs import Repairs
from service.providers.think_tags import TagCutter

_ANSWER_KEYS = ("id", "object", "created", "model", "choices", "usage", "system_fingerprint", "service_tier")

_opened: ContextVar[list[Any] | None] = ContextVar("opened", default=None)


class LiteLLMClient:
    """Any provider that LiteLLM knows, with answers in OpenAI's dialect.

    Args:
        secrets: where `api_key_env` is looked up, usually the environment.
        clock: the current time, to read dates in `Retry-After`.
    """

    def __init__(self, secrets: Mapping[str, str], clock: Clock) -> None:
        self._secrets = secrets
        self._clock = clock
        self._anthropic_http: Any = None
        self._repairs = Repairs(openai_repairs())

    async def warm(self) -> None:
        """Load the library. Loading takes seconds and blocks the whole process."""
        await asyncio.to_thread(_litellm)

    async def complete(self, arm: Arm, body: Json, *, timeout_s: float) -> Answer:
        call = partial(self._answer, arm)
        return await self._repairs.complete(arm, body, call, timeout_s=timeout_s)

    def stream(self, arm: Arm, body: Json, *, timeout_s: float) -> AsyncGenerator[Burst, None]:
        return self._repairs.stream(arm, body, partial(self._answer_in_chunks, arm, timeout_s))

    async def _answer(self, arm: Arm, request: Json, timeout_s: float) -> Answer:
        litellm = await asyncio.to_thread(_litellm)
        timeout_s = _limit_s(arm, timeout_s, stream=False)
        arguments = self._arguments(litellm, arm, request, timeout_s)
        try:
            async with asyncio.timeout(timeout_s):
                response = await litellm.acompletion(**arguments)
        except Exception as error:  # LiteLLM passes on any error of its hundred adapters
            raise self._translated(arm, error, timeout_s) from None
        return TagCutter(request).answer(normalised(_asked(arm, request), _answer(response.model_dump())))

    async def _answer_in_chunks(
        self, arm: Arm, timeout_s: float, request: Json
    ) -> AsyncGenerator[Burst, None]:
        litellm = await asyncio.to_thread(_litellm)
        timeout_s = _limit_s(arm, timeout_s, stream=True)
        arguments = self._arguments(litellm, arm, request, timeout_s)
        arguments |= {"stream": True, "stream_options": {"include_usage": True}}
        opened: list[Any] = []
        raw_chunks = None
        try:
            raw_chunks = await self._open(litellm, arm, arguments, opened, timeout_s)
            normaliser, cutter = StreamNormaliser(_asked(arm, request)), TagCutter(request)
            while (raw := await self._next(arm, raw_chunks, timeout_s)) is not None:
                if burst := [cutter.chunk(chunk) for chunk in normaliser.chunks(raw)]:
                    yield burst
            yield [cutter.chunk(chunk) for chunk in normaliser.end()]
        finally:
            await _end(raw_chunks, opened)

    async def close(self) -> None:
        if self._anthropic_http is not None:
            await self._anthropic_http.close()
            self._anthropic_http = None

    async def _open(
        self, litellm: ModuleType, arm: Arm, arguments: dict[str, Any], opened: list[Any], timeout_s: float
    ) -> Any:
        token = _opened.set(opened)
        try:
            async with asyncio.timeout(timeout_s):
                return await litellm.acompletion(**arguments)
        except Exception as error:
            raise self._translated(arm, error, timeout_s) from None
        finally:
            _opened.reset(token)

    async def _next(self, arm: Arm, raw_chunks: Any, timeout_s: float) -> Json | None:
        """The next chunk; None: the provider ended its stream."""
        try:
            async with asyncio.timeout(timeout_s):
                raw = await anext(raw_chunks)
        except StopAsyncIteration:
            return None
        except Exception as error:
            raise self._translated(arm, error, timeout_s) from None
        dumped = raw.model_dump(exclude_none=True)
        dumped.get("usage", {}).pop("cost", None)  # LiteLLM's own estimate, which no provider stated
        chunk = _answer(dumped)
        choices = chunk["choices"]
        if any(choice.get("finish_reason") for choice in choices) and not _has_finished(raw_chunks):
            raise ProviderBroken(f"{arm.model} stopped streaming before its answer was complete")
        # To a chunk with usage LiteLLM adds an empty delta, after the choice has finished.
        return chunk | {"choices": []} if "usage" in chunk else chunk

    def _arguments(self, litellm: ModuleType, arm: Arm, body: Json, timeout_s: float) -> dict[str, Any]:
        """The call's keyword arguments, by allow-list: some of LiteLLM's decide where the key is sent."""
        _reject_remote_content(body)
        is_anthropic = arm.provider == "anthropic" or arm.model.startswith("anthropic/")
        if is_anthropic:
            body = corrected(body)
        arguments = {name: body[name] for name in (*table().fields, "thinking") if body.get(name) is not None}
        if is_anthropic:
            arguments["client"] = self._open_anthropic_http(litellm)
        return arguments | {
            "model": f"anthropic/{arm.model.removeprefix('anthropic/')}" if is_anthropic else arm.model,
            "messages": body["messages"],
            "api_key": key_for_litellm(arm, self._secrets),
            "api_base": arm.base_url,
            # Longer than the router's own: LiteLLM reports its timeouts as lost connections.
            "timeout": timeout_s + 5,
            "max_retries": 0,
            "num_retries": 0,
        }

    def _open_anthropic_http(self, litellm: ModuleType) -> Any:
        """An HTTP client that records its responses, because LiteLLM cannot close an Anthropic stream."""
        if self._anthropic_http is None:
            handler = litellm.AsyncHTTPHandler
            hooks = {"request": [_with_own_key_only], "response": [_record_response]}
            self._anthropic_http = handler(event_hooks=hooks, follow_redirects=False)
        return self._anthropic_http

    def _translated(self, arm: Arm, error: Exception, timeout_s: float) -> ProviderError:
        secret = api_key(arm, self._secrets)
        return translated(arm, error, timeout_s=timeout_s, secret=secret, now=self._clock())


def _asked(arm: Arm, body: Json) -> Asked:
    return Asked(
        arm, body, lambda _: ProviderBroken(f"{arm.model} answered something other than a chat completion")
    )


def _limit_s(arm: Arm, timeout_s: float, *, stream: bool) -> float:
    """Longest wait for the answer or the next chunk: LiteLLM drops comments, so that only chunks are life."""
    silence_s = arm.patience_s(stream=stream)
    return timeout_s if silence_s is None else min(silence_s, timeout_s)


def _litellm() -> ModuleType:
    """The library, set not to read `.env`, not to fetch anything, and not to log prompts."""
    os.environ["LITELLM_MODE"] = "PRODUCTION"
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    os.environ["LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS"] = "True"
    import litellm

    logging.getLogger("LiteLLM").setLevel(logging.WARNING)
    litellm.suppress_debug_info = True
    litellm.disable_token_counter = True  # it would fetch tokenizers from a model hub
    return litellm


async def _with_own_key_only(request: Any) -> None:
    """Send the key of this call in its header, and no cookie that another call was given."""
    request.headers.pop("cookie", None)
    key = request.headers.get("x-api-key", "")
    if key == NO_KEY or key.startswith(BEARER):
        del request.headers["x-api-key"]
    if key.startswith(BEARER):
        request.headers["Authorization"] = key


async def _record_response(response: Any) -> None:
    if (opened := _opened.get()) is not None:
        opened.append(response)


async def _end(raw_chunks: Any, opened: list[Any]) -> None:
    if raw_chunks is not None:
        await raw_chunks.aclose()
    for response in opened:
        await response.aclose()


def _has_finished(raw_chunks: Any) -> bool:
    """Whether the provider itself sent a finish reason: LiteLLM invents one if the stream breaks off."""
    return bool(raw_chunks.received_finish_reason or raw_chunks.intermittent_finish_reason)


def _answer(dumped: Json) -> Json:
    """The fields that an OpenAI client knows."""
    answer = {key: dumped[key] for key in _ANSWER_KEYS if key in dumped}
    if answer.get("usage"):
        usage = usage_from(answer["usage"])
        answer["usage"] = None if usage is None else reported(usage)
    for choice in answer.get("choices", []):
        for part in ("message", "delta"):
            if part in choice:
                choice[part] = _tidy(choice[part])
    return answer


def _tidy(message: Json) -> Json:
    return {
        key: value
        for key, value in message.items()
        if (value is not None or key == "content") and key != "provider_specific_fields"
    }


def _reject_remote_content(body: Json) -> None:
    """Reject requests that would make LiteLLM call an address that the client chose."""
    for tool in body.get("tools") or []:
        if (kind := tool.get("type")) != "function":
            raise _refusal("tools", f"this model accepts only tools of type function, got {kind!r}")
    for position, message in enumerate(body["messages"]):
        content = message.get("content")
        for part in content if isinstance(content, list) else []:
            if not _is_embedded(part):
                param = f"messages[{position}].content"
                raise _refusal(param, "this model accepts files only as data: URLs inside the request")


def _is_embedded(part: Json) -> bool:
    kind = part.get("type")
    value = part.get(kind) if isinstance(kind, str) else None
    if kind == "image_url":
        url = value.get("url") if isinstance(value, dict) else value
        return isinstance(url, str) and url.startswith("data:")
    if kind == "file":
        data = value.get("file_data") if isinstance(value, dict) and "file_id" not in value else None
        return isinstance(data, str) and data.startswith("data:")
    return kind in ("text", "refusal", "input_audio")


def _refusal(param: str, message: str) -> ProviderRejected:
    return ProviderRejected(message, status=400, param=param, code="unsupported_parameter", is_local=True)
