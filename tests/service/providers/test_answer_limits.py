"""A server's own limit of answers, read from its refusal and used."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.domain.basics import Json
from service.domain.query import Native
from service.errors import ProviderRejected
from service.providers.anthropic import AnthropicClient
from service.providers.openai_compatible import OpenAICompatibleClient
from tests.service.providers.scripted import NOW, SECRETS, Upstream, answers
from tests.service.providers.test_repairs import HI, WHOLE, refuses_if

# Refusals of 64,000 tokens, and the limit that they state.
OF_THE_ANSWER = {
    "max_tokens is too large: 64000. This model supports at most 32768 completion tokens, whereas you "
    "provided 64000.": 32_768,
    "max_tokens: 64000 > 32000, which is the maximum allowed number of output tokens for a-model": 32_000,
    "`max_tokens` must be less than or equal to `16,384`": 16_384,
    "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]": 8_192,
    "Unable to submit request because it has a max output tokens value of 64000 but the supported range is "
    "from 1 (inclusive) to 8193 (exclusive).": 8_192,
    "The maximum tokens you requested exceeds the model limit of 4096. Try again with a maximum tokens value "
    "that is lower than 4096.": 4_095,
}
OF_THE_WINDOW = {
    "'max_tokens' or 'max_completion_tokens' is too large: 64000. This model's maximum context length is "
    "32768 tokens and your request has 1500 input tokens (64000 > 32768 - 1500).": 31_268,
    "This model's maximum context length is 8192 tokens. However, you requested 65000 tokens (1000 in the "
    "messages, 64000 in the completion). Please reduce the length of the messages or completion.": 7_192,
    "input length and `max_tokens` exceed context limit: 180000 + 64000 > 200000": 20_000,
}


def asking(**fields: Any) -> Json:
    return {"messages": [HI], "max_tokens": 64_000, **fields}


@pytest.fixture
async def model_client() -> AsyncIterator[OpenAICompatibleClient]:
    model_client = OpenAICompatibleClient(SECRETS, lambda: NOW)
    yield model_client
    await model_client.close()


async def limits_sent(
    model_client: OpenAICompatibleClient, upstream: Upstream, message: str, limit: int
) -> list[int]:
    """What two requests of 64,000 tokens ask a server for, which refuses more than the limit."""
    upstream.script = refuses_if(lambda body: body["max_tokens"] > limit, message, WHOLE)
    for _ in range(2):
        await model_client.complete(upstream.arm(), asking(), timeout_s=5)
    return [body["max_tokens"] for body in upstream.bodies]


@pytest.mark.parametrize(("message", "limit"), OF_THE_ANSWER.items(), ids=str)
async def test_a_limit_of_answers_is_used_and_remembered(
    model_client: OpenAICompatibleClient, upstream: Upstream, message: str, limit: int
) -> None:
    assert await limits_sent(model_client, upstream, message, limit) == [64_000, limit, limit]


@pytest.mark.parametrize(("message", "limit"), OF_THE_WINDOW.items(), ids=str)
async def test_what_a_window_leaves_is_used_for_this_prompt(
    model_client: OpenAICompatibleClient, upstream: Upstream, message: str, limit: int
) -> None:
    assert await limits_sent(model_client, upstream, message, limit) == [64_000, limit, 64_000, limit]


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 8192 tokens. However, you requested 72000 tokens (8000 in "
        "the messages, 64000 in the completion).",
        "This model's maximum context length is 8192 tokens. Please reduce the length of the completion.",
        "max_tokens is too large",
    ],
)
async def test_a_limit_that_leaves_no_answer_is_the_clients_to_know(
    model_client: OpenAICompatibleClient, upstream: Upstream, message: str
) -> None:
    upstream.script = refuses_if(lambda _: True, message, WHOLE)

    with pytest.raises(ProviderRejected):
        await model_client.complete(upstream.arm(), asking(), timeout_s=5)

    assert len(upstream.bodies) == 1


async def test_a_limit_in_anthropics_form_reduces_the_budget_too(upstream: Upstream) -> None:
    whole = {"type": "message", "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn"}
    message = "max_tokens: 64000 > 8000, which is the maximum allowed number of output tokens"
    upstream.script = refuses_if(lambda body: body["max_tokens"] > 8_000, message, answers(whole))
    client = AnthropicClient(SECRETS, lambda: NOW)
    body = asking(thinking={"type": "enabled", "budget_tokens": 31_999})

    await client.complete(upstream.arm("anthropic"), Native(body, {}), timeout_s=5)
    await client.close()

    assert upstream.bodies[-1]["max_tokens"] == 8_000
    assert upstream.bodies[-1]["thinking"]["budget_tokens"] == 6_000
