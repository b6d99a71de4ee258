"""The adapter of embeddings: what goes to the server, and what may come back."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.embedding import EmbeddingRequest, Embeddings
from service.errors import (
    ProviderBroken,
    ProviderError,
    ProviderOutOfCredit,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
)
from service.providers.embeddings import HttpEmbeddings
from tests.service.providers.scripted import KEY, NOW, SECRETS, Upstream, answers, drop, hang, refuses

TWO = EmbeddingRequest("embed", ("one", "two"))


@pytest.fixture
async def client() -> AsyncIterator[HttpEmbeddings]:
    client = HttpEmbeddings(SECRETS, lambda: NOW)
    yield client
    await client.close()


def vectors(*rows: object, **more: object) -> Json:
    data = [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)]
    return {
        "object": "list",
        "data": data,
        "model": "m",
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    } | more


def in_base64(*numbers: float) -> str:
    return b64encode(np.array(numbers, "<f4").tobytes()).decode()


async def embed(
    client: HttpEmbeddings, arm: Arm, request: EmbeddingRequest = TWO, n_dimensions: int | None = None
) -> Embeddings:
    return await client.embed(arm, request, n_dimensions=n_dimensions, timeout_s=20)


async def test_the_server_gets_its_own_name_of_the_model_and_the_operators_key(
    upstream: Upstream, client: HttpEmbeddings
) -> None:
    upstream.script = answers(vectors([1.0], [2.0]))
    others = {"user": "u", "input_type": "query", "truncate": True, "api_base": "http://evil.example"}
    request = EmbeddingRequest("embed", ("one", (1, 2)), "base64", 1, others)

    await embed(client, replace(upstream.arm(), extra_fields=frozenset({"input_type"})), request)

    assert upstream.paths == ["/v1/embeddings"]
    assert upstream.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert upstream.bodies == [
        {
            "model": "some-model",
            "input": ["one", [1, 2]],
            "encoding_format": "base64",
            "dimensions": 1,
            "user": "u",
            "input_type": "query",
        }
    ]


async def test_numbers_are_not_asked_for_because_every_server_sends_them(
    upstream: Upstream, client: HttpEmbeddings
) -> None:
    upstream.script = answers(vectors([1.0], [2.0]))

    await embed(client, upstream.arm(), TWO)

    assert upstream.bodies == [{"model": "some-model", "input": ["one", "two"]}]


async def test_a_server_that_refuses_a_format_is_asked_without_it_from_then_on(
    upstream: Upstream, client: HttpEmbeddings
) -> None:
    async def script(request: web.Request) -> web.StreamResponse:
        if "encoding_format" in upstream.bodies[-1]:
            return await refuses(400, "Extra inputs are not permitted", param="encoding_format")(request)
        return await answers(vectors([0.25, -2]))(request)

    upstream.script = script
    request = EmbeddingRequest("embed", ("one",), "base64")

    first, second = [await embed(client, upstream.arm(), request) for _ in range(2)]

    assert first.rows == second.rows == (in_base64(0.25, -2),)
    assert ["encoding_format" in body for body in upstream.bodies] == [True, False, False]


async def test_another_refusal_of_a_request_with_a_format_is_the_clients(
    upstream: Upstream, client: HttpEmbeddings
) -> None:
    upstream.script = refuses(400, "input is too long", param="input")

    with pytest.raises(ProviderRejected, match="input is too long"):
        await embed(client, upstream.arm(), EmbeddingRequest("embed", ("one",), "base64"))

    assert len(upstream.bodies) == 1


@pytest.mark.parametrize("sent", [[0.25, -2], in_base64(0.25, -2)])
@pytest.mark.parametrize(("asked", "expected"), [("float", [0.25, -2.0]), ("base64", in_base64(0.25, -2))])
async def test_the_vectors_have_the_format_that_the_client_asked_for(
    upstream: Upstream, client: HttpEmbeddings, sent: object, asked: Any, expected: object
) -> None:
    upstream.script = answers(vectors(sent))

    embeddings = await embed(client, upstream.arm(), EmbeddingRequest("embed", ("one",), asked))

    assert embeddings.rows == (expected,)
    assert (embeddings.prompt_tokens, embeddings.is_estimated) == (7, False)


async def test_the_vectors_are_in_the_order_of_the_inputs(upstream: Upstream, client: HttpEmbeddings) -> None:
    body = vectors([1.0], [2.0])
    body["data"].reverse()
    upstream.script = answers(body)

    assert (await embed(client, upstream.arm())).rows == ([1.0], [2.0])


async def test_vectors_without_an_index_are_in_order(upstream: Upstream, client: HttpEmbeddings) -> None:
    upstream.script = answers({"data": [{"embedding": [1.0]}, {"embedding": [2.0]}]})

    assert (await embed(client, upstream.arm())).rows == ([1.0], [2.0])


@pytest.mark.parametrize(
    "usage", [None, {}, {"prompt_tokens": 0}, {"prompt_tokens": "7"}, {"prompt_tokens": True}]
)
async def test_tokens_that_are_not_reported_are_estimated(
    upstream: Upstream, client: HttpEmbeddings, usage: object
) -> None:
    upstream.script = answers(vectors([1.0], [2.0], usage=usage))
    request = EmbeddingRequest("embed", ("nine byte", (1, 2, 3)))

    embeddings = await embed(client, upstream.arm(), request)

    assert (embeddings.prompt_tokens, embeddings.is_estimated) == (3 + 3, True)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (vectors([1.0], [2.0], usage={"prompt_tokens": 7, "cost": 0.5}), {}),
        (vectors([1.0], [2.0]), {"x-litellm-response-cost": "0.5"}),
    ],
)
async def test_a_stated_cost_is_kept(
    upstream: Upstream, client: HttpEmbeddings, body: Json, headers: dict[str, str]
) -> None:
    upstream.script = answers(body, headers=headers)

    assert (await embed(client, upstream.arm())).stated_cost_usd == Decimal("0.5")


@pytest.mark.parametrize(
    "body",
    [
        vectors([1.0]),
        vectors([1.0], [2.0], [3.0]),
        vectors([1.0], [2.0, 3.0]),
        vectors([1.0], []),
        vectors([1.0], None),
        vectors([1.0], ["2"]),
        vectors([1.0], [None]),
        vectors([1.0], [True]),
        vectors([1.0], "not base64!"),
        vectors([1.0], "AAA="),
        vectors([1.0], in_base64(float("nan"))),
        vectors([1.0], {"float": [2.0]}),
        {"data": [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [1.0]}]},
        {"data": [1, 2]},
        {"data": {}},
        {"data": []},
        [],
        "text",
        b"no json",
        b'{"data": [{"embedding": [NaN]}, {"embedding": [1.0]}]}',
    ],
)
async def test_anything_but_a_vector_for_each_input_is_a_failure(
    upstream: Upstream, client: HttpEmbeddings, body: Any
) -> None:
    upstream.script = answers(body)

    with pytest.raises(ProviderBroken):
        await embed(client, upstream.arm())


@pytest.mark.parametrize("sent", [[1.0, 2.0], in_base64(1, 2)])
async def test_vectors_of_another_length_than_expected_are_a_failure(
    upstream: Upstream, client: HttpEmbeddings, sent: object
) -> None:
    upstream.script = answers(vectors(sent, sent))

    await embed(client, upstream.arm(), n_dimensions=2)
    with pytest.raises(ProviderBroken, match="2 numbers where 3 were expected"):
        await embed(client, upstream.arm(), n_dimensions=3)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ProviderRejected),
        (401, ProviderBroken),
        (402, ProviderOutOfCredit),
        (404, ProviderBroken),
        (429, ProviderRateLimited),
        (500, ProviderBroken),
        (504, ProviderTimeout),
    ],
)
async def test_a_refusal_is_the_error_that_it_is_for_chats(
    upstream: Upstream, client: HttpEmbeddings, status: int, kind: type[ProviderError]
) -> None:
    upstream.script = refuses(status, f"sorry about {KEY}")

    with pytest.raises(kind) as caught:
        await embed(client, upstream.arm())

    assert type(caught.value) is kind
    assert KEY not in str(caught.value)


async def test_a_lost_connection_and_a_silent_server_are_failures(
    upstream: Upstream, client: HttpEmbeddings
) -> None:
    upstream.script = drop
    with pytest.raises(ProviderBroken):
        await embed(client, upstream.arm())
    upstream.script = hang
    with pytest.raises(ProviderTimeout):
        await embed(client, replace(upstream.arm(), timeout_s=0.01))


async def test_a_missing_key_is_no_request(upstream: Upstream, client: HttpEmbeddings) -> None:
    with pytest.raises(ProviderBroken, match="OTHER_KEY is not set"):
        await embed(client, replace(upstream.arm(), api_key_env="OTHER_KEY"))

    assert upstream.bodies == []
