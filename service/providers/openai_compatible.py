"""Calls any upstream that speaks OpenAI's Chat Completions: OpenAI, OpenRouter, Ollama, vLLM, ..."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeGuard

import aiohttp
import orjson

from service.errors import ProviderBroken, ProviderError, ProviderTimeout
from service.ports import Clock
from service.providers.failures import failure_in, retry_after_s
from service.providers.keys import api_key
from service.providers.streams import EventReader, StreamTally
from service.types import Answer, Arm, Chunk, Json
from service.usage import estimated_usage, text_bytes, usage_from

OPENAI_BASE_URL = "https://api.openai.com/v1"
MAX_ANSWER_BYTES = 32 * 2**20
CONNECT_TIMEOUT_S = 10.0

# Every documented field of the request; others stop here. `stream` and `model` are ours to set.
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


class OpenAICompatibleCaller:
    """The thin direct adapter: the caller's body goes up, the upstream's comes back.

    Args:
        secrets: where `api_key_env` is looked up; the environment, usually.
        clock: tells how far away the date in a `Retry-After` is.
    """

    def __init__(self, secrets: Mapping[str, str], clock: Clock) -> None:
        self._secrets = secrets
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def complete(self, arm: Arm, body: Json, *, timeout_s: float) -> Answer:
        with _translated(arm, timeout_s):
            async with asyncio.timeout(timeout_s):
                response = await self._post(arm, _upstream_body(arm, body, stream=False))
                async with response:
                    answer = _parsed(await _read(response, arm))
        if not _is_completion(answer):
            raise self._nonsense(arm, answer)
        usage = usage_from(answer.get("usage"))
        return Answer(answer, usage or estimated_usage(body, text_bytes(answer["choices"])))

    async def stream(self, arm: Arm, body: Json, *, timeout_s: float) -> AsyncGenerator[Chunk, None]:
        with _translated(arm, timeout_s):
            async with asyncio.timeout(timeout_s):
                response = await self._post(arm, _upstream_body(arm, body, stream=True))
                if response.content_type == "application/json":
                    raise self._nonsense(arm, _parsed(await _read(response, arm)))
        try:
            events = _Events(response)
            tally = StreamTally(arm, body)
            while True:
                with _translated(arm, timeout_s):
                    async with asyncio.timeout(timeout_s):
                        data = await events.next()
                if data is None or data == b"[DONE]":
                    break
                if (chunk := tally.take(self._piece(arm, data))) is not None:
                    yield chunk
            yield tally.end()
        finally:
            response.release()  # back to the pool when the upstream is done, else closed, so that it stops

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _post(self, arm: Arm, body: Json) -> aiohttp.ClientResponse:
        """The response once its status is known to be good."""
        response = await self._open_session().post(
            f"{_base_url(arm)}/chat/completions",
            data=orjson.dumps(body),
            headers=self._headers(arm),
            allow_redirects=False,
        )
        if response.status == 200:
            return response
        async with response:
            refusal = _parsed(await _read(response, arm))
        wait_s = retry_after_s(response.headers, self._clock())
        raise failure_in(
            arm, refusal, response.status, secret=api_key(arm, self._secrets), retry_after_s=wait_s
        )

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),  # the server's own limits bound how many call
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
            )
        return self._session

    def _headers(self, arm: Arm) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "User-Agent": "llm-router"}
        key = api_key(arm, self._secrets)
        return headers if key is None else {**headers, "Authorization": f"Bearer {key}"}

    def _piece(self, arm: Arm, data: bytes) -> Json:
        piece = _parsed(data)
        if not isinstance(piece, dict) or piece.get("error"):
            raise self._nonsense(arm, piece)
        return piece

    def _nonsense(self, arm: Arm, answer: object) -> ProviderError:
        """The error for a 200 that is no chat completion; some put an error envelope there."""
        if isinstance(answer, dict) and answer.get("error"):
            return failure_in(arm, answer, 200, secret=api_key(arm, self._secrets))
        return ProviderBroken(f"{arm.model} answered something else than a chat completion", status=200)


class _Events:
    """The data of a response's events, one after the other."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._content = response.content
        self._reader = EventReader()
        self._ready: deque[bytes] = deque()

    async def next(self) -> bytes | None:
        """None: the upstream ended its stream."""
        while not self._ready:
            block = await self._content.readany()
            self._ready.extend(self._reader.feed(block))
            if not block and not self._ready:
                return None
        return self._ready.popleft()


@contextmanager
def _translated(arm: Arm, timeout_s: float) -> Iterator[None]:
    """Turn what the client raises into our errors.

    The causes are cut off: aiohttp's errors carry the request's headers, and so the key.
    """
    try:
        yield
    except aiohttp.ConnectionTimeoutError:
        raise ProviderTimeout(f"{arm.model} accepted no connection within {CONNECT_TIMEOUT_S:g} s") from None
    except TimeoutError:
        raise ProviderTimeout(f"{arm.model} gave no answer within {timeout_s:g} s") from None
    except (aiohttp.ClientError, OSError) as error:
        raise ProviderBroken(f"the connection to {arm.model} failed: {type(error).__name__}") from None


def _base_url(arm: Arm) -> str:
    return (arm.base_url or OPENAI_BASE_URL).rstrip("/")


def _upstream_body(arm: Arm, body: Json, *, stream: bool) -> Json:
    upstream = {name: value for name, value in body.items() if name in FIELDS}
    upstream["model"] = arm.model
    upstream["stream"] = stream
    upstream.pop("stream_options", None)
    if stream:
        upstream["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    if _base_url(arm) == OPENAI_BASE_URL and "max_tokens" in upstream:
        # OpenAI's reasoning models refuse the old name, all its models know the new one;
        # many other servers know only the old one.
        upstream.setdefault("max_completion_tokens", upstream.pop("max_tokens"))
    return upstream


async def _read(response: aiohttp.ClientResponse, arm: Arm) -> bytes:
    answer = bytearray()
    async for block in response.content.iter_any():
        answer += block
        if len(answer) > MAX_ANSWER_BYTES:
            response.close()
            raise ProviderBroken(f"{arm.model} answered more than {MAX_ANSWER_BYTES} bytes")
    return bytes(answer)


def _parsed(data: bytes) -> object:
    """The JSON value; None when it is none."""
    try:
        value: object = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return value


def _is_completion(answer: object) -> TypeGuard[Json]:
    choices = answer.get("choices") if isinstance(answer, dict) else None
    return isinstance(choices, list) and bool(choices) and all(map(_is_complete, choices))


def _is_complete(choice: object) -> bool:
    """OpenRouter marks an answer that broke off by the finish reason `error`."""
    return (
        isinstance(choice, dict)
        and isinstance(choice.get("message"), dict)
        and choice.get("finish_reason") != "error"
    )
