"""The address that is called, from the base URL as the operator wrote it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.arms.configured import arm_of
from service.domain.arm import Arm
from service.domain.query import Native
from service.providers.anthropic import AnthropicClient
from service.providers.litellm import LiteLLMClient
from service.providers.openai_compatible import OpenAICompatibleClient
from service.settings.models import ModelSettings
from tests.service.providers.scripted import BODY, NOW, Upstream, answers, completion

MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "hi"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 1, "output_tokens": 1},
}


def arm(provider: str, written: str) -> Arm:
    entry = {"id": "a", "provider": provider, "model": "claude-sonnet-5-5", "base_url": written}
    return arm_of(ModelSettings.model_validate(entry))


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/", "//v1", "/v1/chat/completions", "/v1/models"])
async def test_a_server_is_called_under_v1(upstream: Upstream, path: str) -> None:
    upstream.script = answers(completion("hi"))
    client = OpenAICompatibleClient({}, lambda: NOW)

    await client.complete(arm("openai", f" {upstream.base_url}{path}\r"), BODY, timeout_s=30)
    await client.close()

    assert upstream.paths == ["/v1/chat/completions"]


async def test_a_server_is_called_at_its_root_if_the_endpoint_is_given(upstream: Upstream) -> None:
    upstream.script = answers(completion("hi"))
    client = OpenAICompatibleClient({}, lambda: NOW)

    await client.complete(arm("openai", f"{upstream.base_url}/chat/completions"), BODY, timeout_s=30)
    await client.close()

    assert upstream.paths == ["/chat/completions"]


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/", "/v1/messages"])
async def test_anthropic_is_called_under_one_v1(upstream: Upstream, path: str) -> None:
    upstream.script = answers(MESSAGE)
    body = {"model": "auto", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
    written = arm("anthropic", f"{upstream.base_url}{path}")
    client = AnthropicClient({}, lambda: NOW)

    await client.complete(written, Native(body, {}), timeout_s=30)
    await client.close()

    assert upstream.paths == ["/v1/messages"]


@pytest.mark.filterwarnings("ignore")  # LiteLLM loads its parts at their first use, and some of them warn
async def test_anthropic_is_called_under_one_v1_through_litellm(upstream: Upstream) -> None:
    upstream.script = answers(MESSAGE)
    written = arm("anthropic", f"{upstream.base_url}/v1/")
    client = LiteLLMClient({"A_KEY": "sk-1"}, lambda: NOW)

    await client.complete(replace(written, api_key_env="A_KEY"), {**BODY, "max_tokens": 5}, timeout_s=30)
    await client.close()

    assert upstream.paths == ["/v1/messages"]
