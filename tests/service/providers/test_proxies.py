"""Calls through a proxy that only it knows the way to the provider."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from embeddings.remote import RemoteEncoder
from service.domain.arm import Arm
from service.domain.proxies import Proxies
from service.domain.query import Native
from service.errors import ProviderBroken
from service.providers.anthropic import AnthropicClient
from service.providers.litellm import LiteLLMClient
from service.providers.openai_compatible import OpenAICompatibleClient
from tests.forward_proxy import ForwardProxy, forwarding
from tests.service.providers.scripted import (
    BODY,
    KEY,
    NOW,
    SECRETS,
    Upstream,
    answers,
    chunk_body,
    collected,
    completion,
    event,
    streams,
)
from tests.service.providers.test_addresses import MESSAGE

HOST = "http://provider.example"  # no name server knows it
ARM = Arm("a", "openai", "m", base_url=f"{HOST}/v1", api_key_env="UPSTREAM_KEY")
CLAUDE = replace(ARM, provider="anthropic", model="claude-sonnet-5-5", base_url=HOST)
MESSAGES = {"model": "auto", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
async def proxy(upstream: Upstream) -> AsyncIterator[ForwardProxy]:
    async with forwarding(urlsplit(upstream.base_url).port or 0) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def _no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_a_call_goes_through_the_proxy(upstream: Upstream, proxy: ForwardProxy, variable: str) -> None:
    upstream.script = answers(completion("hi"))
    client = OpenAICompatibleClient({**SECRETS, variable: proxy.url}, lambda: NOW)

    await client.complete(ARM, BODY, timeout_s=30)
    await client.close()

    assert proxy.calls == [f"POST {HOST}/v1/chat/completions"]
    assert proxy.logins == [None]
    assert upstream.headers[0]["Authorization"] == f"Bearer {KEY}"


async def test_a_stream_goes_through_the_proxy_with_its_login(
    upstream: Upstream, proxy: ForwardProxy
) -> None:
    upstream.script = streams(event(chunk_body("hi", finish_reason="stop")), b"data: [DONE]\n\n")
    with_login = proxy.url.replace("://", "://me:p%40ss@")
    client = OpenAICompatibleClient({**SECRETS, "HTTP_PROXY": with_login}, lambda: NOW)

    chunks = await collected(client.stream(ARM, BODY, timeout_s=30))
    await client.close()

    assert chunks
    assert proxy.logins == ["me:p@ss"]
    assert upstream.headers[0]["Authorization"] == f"Bearer {KEY}"


async def test_anthropic_is_called_through_the_proxy(upstream: Upstream, proxy: ForwardProxy) -> None:
    upstream.script = answers(MESSAGE)
    client = AnthropicClient({**SECRETS, "HTTP_PROXY": proxy.url}, lambda: NOW)

    await client.complete(CLAUDE, Native(MESSAGES, {}), timeout_s=30)
    await client.close()

    assert proxy.calls == [f"POST {HOST}/v1/messages"]


@pytest.mark.filterwarnings("ignore")  # LiteLLM loads its parts at their first use, and some of them warn
async def test_litellm_calls_through_the_proxy(
    upstream: Upstream, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.script = answers(MESSAGE)
    for name, value in Proxies.of({"HTTP_PROXY": proxy.url}).variables():
        monkeypatch.setenv(name, value)
    client = LiteLLMClient(SECRETS, lambda: NOW)

    await client.complete(CLAUDE, {**BODY, "max_tokens": 5}, timeout_s=30)
    await client.complete(
        replace(CLAUDE, base_url=upstream.base_url), {**BODY, "max_tokens": 5}, timeout_s=30
    )
    await client.close()

    assert proxy.calls == [f"POST {HOST}/v1/messages"]
    assert upstream.paths == ["/v1/messages", "/v1/messages"]


async def test_loopback_is_called_directly(upstream: Upstream, proxy: ForwardProxy) -> None:
    upstream.script = answers(completion("hi"))
    client = OpenAICompatibleClient({**SECRETS, "HTTP_PROXY": proxy.url}, lambda: NOW)

    await client.complete(upstream.arm(), BODY, timeout_s=30)
    await client.close()

    assert (len(upstream.paths), proxy.calls) == (1, [])


async def test_an_exception_is_called_directly(proxy: ForwardProxy) -> None:
    environ = {**SECRETS, "HTTP_PROXY": proxy.url, "NO_PROXY": "127.0.0.0/8,.provider.example"}
    client = OpenAICompatibleClient(environ, lambda: NOW)

    with pytest.raises(ProviderBroken, match="ClientConnectorDNSError"):
        await client.complete(ARM, BODY, timeout_s=30)
    await client.close()

    assert proxy.calls == []


@pytest.mark.parametrize("url", ["https://provider.example/v1", "http://provider.example/v1"])
async def test_a_proxy_that_refuses_is_named_and_its_login_is_not(upstream: Upstream, url: str) -> None:
    async with forwarding(0, refuses_with=407) as proxy:
        environ = {**SECRETS, "ALL_PROXY": proxy.url.replace("://", "://me:hush@")}
        client = OpenAICompatibleClient(environ, lambda: NOW)

        with pytest.raises(ProviderBroken, match=r"407") as broken:
            await client.complete(replace(ARM, base_url=url), BODY, timeout_s=30)
        await client.close()

    assert "hush" not in f"{broken.value!r} {broken.value.__cause__!r}"
    assert "proxy" in str(broken.value)


async def test_a_proxy_that_is_down_is_named_and_its_login_is_not() -> None:
    client = OpenAICompatibleClient({**SECRETS, "HTTP_PROXY": "http://me:hush@127.0.0.1:1"}, lambda: NOW)

    with pytest.raises(ProviderBroken, match="proxy") as broken:
        await client.complete(ARM, BODY, timeout_s=30)
    await client.close()

    assert "hush" not in str(broken.value)


async def test_a_proxy_of_another_kind_breaks_the_call_by_its_name() -> None:
    client = OpenAICompatibleClient({**SECRETS, "ALL_PROXY": "socks5://me:hush@proxy"}, lambda: NOW)

    with pytest.raises(ProviderBroken, match=r"^ALL_PROXY must be http://host:port"):
        await client.complete(ARM, BODY, timeout_s=30)
    await client.close()


async def test_embeddings_are_called_through_the_proxy_alone(
    upstream: Upstream, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.script = answers({"data": [{"index": 0, "embedding": [1, 0]}]})

    encoder = await to_thread(RemoteEncoder, f"{HOST}/v1", "m", None, 30, proxy.url)
    encoder.close()
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    direct = await to_thread(RemoteEncoder, f"{upstream.base_url}/v1", "m", None, 30)
    direct.close()

    assert proxy.calls == [f"POST {HOST}/v1/embeddings"]
    assert len(upstream.paths) == 2
