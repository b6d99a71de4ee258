"""LiteLLM's proxies state the cost of a whole answer in a header."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from service.domain.basics import Json
from service.domain.query import Native
from service.providers.anthropic import AnthropicClient
from service.providers.openai_compatible import OpenAICompatibleClient
from tests.service.providers.scripted import BODY, NOW, SECRETS, Script, Upstream, answers, completion

MESSAGE: Json = {
    "id": "m",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [{"type": "text", "text": "hi"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 5, "output_tokens": 2},
}


def answering(usage: Json, header: str | None = None) -> Script:
    body = completion(usage={"prompt_tokens": 12, "completion_tokens": 3, **usage})
    return answers(body, headers={} if header is None else {"x-litellm-response-cost": header})


@pytest.fixture
async def openai() -> AsyncIterator[OpenAICompatibleClient]:
    client = OpenAICompatibleClient(SECRETS, lambda: NOW)
    yield client
    await client.close()


@pytest.mark.parametrize(
    ("header", "cost"),
    [
        ("0.00123", "0.00123"),
        ("1.23e-05", "0.0000123"),
        ("0.0", "0"),
        ("None", None),
        ("", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("1e9", None),
    ],
)
async def test_the_header_states_the_cost(
    openai: OpenAICompatibleClient, upstream: Upstream, header: str, cost: str | None
) -> None:
    upstream.script = answering({}, header)

    answer = await openai.complete(upstream.arm(), BODY, timeout_s=5)

    assert answer.usage.stated_cost_usd == (None if cost is None else Decimal(cost))
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (12, 3)


async def test_without_the_header_nothing_is_stated(
    openai: OpenAICompatibleClient, upstream: Upstream
) -> None:
    upstream.script = answering({})

    assert (await openai.complete(upstream.arm(), BODY, timeout_s=5)).usage.stated_cost_usd is None


async def test_the_cost_in_the_usage_goes_first_unless_it_is_zero(
    openai: OpenAICompatibleClient, upstream: Upstream
) -> None:
    upstream.script = answering({"cost": 0.5}, "0.7")
    both = await openai.complete(upstream.arm(), BODY, timeout_s=5)
    upstream.script = answering({"cost": 0}, "0.7")
    zero = await openai.complete(upstream.arm(), BODY, timeout_s=5)

    assert both.usage.stated_cost_usd == Decimal("0.5")
    assert zero.usage.stated_cost_usd == Decimal("0.7")


async def test_the_header_counts_in_anthropics_dialect_too(upstream: Upstream) -> None:
    upstream.script = answers(MESSAGE, headers={"x-litellm-response-cost": "0.002"})
    client = AnthropicClient(SECRETS, lambda: NOW)

    arm = upstream.arm("anthropic", "claude", path="")
    answer = await client.complete(arm, Native({"messages": BODY["messages"]}, {}), timeout_s=5)
    await client.close()

    assert answer.usage.stated_cost_usd == Decimal("0.002")
