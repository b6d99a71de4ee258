"""The tutorial's provider, asked with OpenAI's client."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestServer
from openai import AsyncOpenAI, NotFoundError
from openai.types.chat import ChatCompletionUserMessageParam

from docs.first_hour.provider import application

DAY = "Which day of the week is 29 February 2028?"


def user(text: str) -> list[ChatCompletionUserMessageParam]:
    return [{"role": "user", "content": text}]


@pytest_asyncio.fixture
async def client() -> AsyncIterator[AsyncOpenAI]:
    async with (
        TestServer(application()) as server,
        AsyncOpenAI(base_url=str(server.make_url("/v1")), api_key="none", max_retries=0) as client,
    ):
        yield client


@pytest.mark.parametrize(
    ("model", "question", "answer"),
    [
        ("acme-mini", "What is 48 + 17?", "48 + 17 = 65."),
        ("acme-large", "What is 48 + 17?", "48 + 17 = 65."),
        ("acme-mini", DAY, "29 February 2028 is a Monday."),
        ("acme-large", DAY, "29 February 2028 is a Tuesday."),
    ],
)
async def test_both_models_add_and_one_knows_weekdays(
    client: AsyncOpenAI, model: str, question: str, answer: str
) -> None:
    completion = await client.chat.completions.create(model=model, messages=user(question))

    assert (completion.model, completion.choices[0].message.content) == (model, answer)
    assert completion.usage is not None
    assert completion.usage.total_tokens == len(question) // 4 + 1 + len(answer) // 4 + 1


async def test_an_answer_is_streamed_word_by_word_with_its_usage(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model="acme-large", messages=user(DAY), stream=True)
    chunks = [chunk async for chunk in stream]

    words = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert "".join(word or "" for word in words) == "29 February 2028 is a Tuesday."
    assert len(words) == 7
    assert chunks[-1].usage is not None


async def test_an_unknown_model_does_not_exist(client: AsyncOpenAI) -> None:
    with pytest.raises(NotFoundError, match="acme-huge"):
        await client.chat.completions.create(model="acme-huge", messages=user(DAY))
