"""The official OpenAI client, with nothing but its base URL changed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import openai
import pytest
from openai import AsyncOpenAI

from service.errors import ProviderBroken, ProviderOutOfCredit, ProviderRateLimited
from tests.fakes import ANY, Reply
from tests.service.world import World

HI: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "Hi"}]
BROKEN = ProviderBroken("upstream failed", status=500)


@pytest.fixture
async def client(world: World) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(
        base_url="http://127.0.0.1:8080/v1",
        api_key="anything",
        organization="org",
        project="project",
        http_client=world.http,
        max_retries=0,
    ) as client:
        yield client


async def test_a_completion_reads_like_openais(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="auto", messages=HI)

    assert answer.choices[0].message.content == "Hello there."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 150


async def test_a_stream_reads_like_openais(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="auto", messages=HI, stream=True, stream_options={"include_usage": True}
    )

    chunks = [chunk async for chunk in stream]
    texts = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert "".join(texts) == "Hello there."
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 50


async def test_the_routers_options_go_into_extra_body_and_its_answers_into_headers(
    client: AsyncOpenAI,
) -> None:
    raw = await client.chat.completions.with_raw_response.create(
        model="auto", messages=HI, extra_body={"router": {"models": ["large"], "explain": True}}
    )

    assert raw.headers["X-Router-Model"] == "large"
    extra = raw.parse().model_extra
    assert extra is not None
    assert extra["router"]["candidates"][0]["model"] == "large"


async def test_models_are_listed(client: AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == [
        *("auto", "claude-router", "small", "medium", "large"),
        *("embed", "router-minilm", "unpriced"),
    ]
    assert (await client.models.retrieve("big")).id == "large"


async def test_an_unknown_model_raises_what_openai_raises(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as error:
        await client.chat.completions.create(model="acme-0", messages=HI)

    assert (error.value.code, error.value.param) == ("model_not_found", "model")


async def test_a_bad_request_raises_what_openai_raises(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        await client.chat.completions.create(model="auto", messages=[])

    assert error.value.param == "messages"


async def test_a_prompt_too_long_raises_what_openai_raises(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        await client.chat.completions.create(
            model="auto", messages=[{"role": "user", "content": "x" * 1_000_000}]
        )

    assert error.value.code == "context_length_exceeded"


async def test_the_client_retries_by_itself_when_all_models_failed(world: World, client: AsyncOpenAI) -> None:
    limited = ProviderBroken("busy", status=503, retry_after_s=0.001)
    world.model_client.will(ANY, *[Reply(error=limited)] * 3)

    answer = await client.with_options(max_retries=1).chat.completions.create(model="auto", messages=HI)

    assert answer.choices[0].message.content == "Hello there."


async def test_a_stream_that_breaks_raises_rather_than_ends(world: World, client: AsyncOpenAI) -> None:
    world.model_client.will(ANY, Reply(words=("Half an",), error=BROKEN))
    stream = await client.chat.completions.create(model="auto", messages=HI, stream=True)

    with pytest.raises(openai.APIError, match="upstream failed"):
        [chunk async for chunk in stream]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (ProviderRateLimited("slow down", status=429, retry_after_s=7), "rate_limit_exceeded"),
        (ProviderOutOfCredit("pay first", status=402), "insufficient_quota"),
    ],
)
async def test_limits_of_every_provider_raise_what_openai_raises(
    world: World, client: AsyncOpenAI, fault: ProviderRateLimited, code: str
) -> None:
    world.model_client.will(ANY, *[Reply(error=fault)] * 3)

    with pytest.raises(openai.RateLimitError) as error:
        await client.chat.completions.create(model="auto", messages=HI)

    assert error.value.code == code


async def test_the_clients_own_retries_share_the_budget_of_calls(world: World, client: AsyncOpenAI) -> None:
    world.model_client.will(ANY, *[Reply(error=BROKEN)] * 9)

    with pytest.raises(openai.InternalServerError):
        await client.with_options(max_retries=1).chat.completions.create(model="auto", messages=HI)

    assert len(world.model_client.calls) == 3 + 2


async def test_embeddings_read_like_openais(client: AsyncOpenAI) -> None:
    answer = await client.embeddings.create(model="router-minilm", input=["one two", "three"])

    assert [row.index for row in answer.data] == [0, 1]
    assert sum(number * number for number in answer.data[0].embedding) == pytest.approx(1.0)
    assert answer.usage.prompt_tokens == 3


async def test_an_unknown_embedding_model_raises_what_openai_raises(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="router-minilm"):
        await client.embeddings.create(model="text-embedding-3-small", input="one")
