"""Calls the embeddings endpoint of an OpenAI-compatible server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial

from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.bounded_json import Shape, bounded_json
from service.domain.embedding import EmbeddingRequest, Embeddings, Row, as_row, numbers_of
from service.domain.ports import Clock
from service.domain.proxies import Proxies
from service.domain.stated_cost import stated_cost_usd
from service.errors import ProviderBroken, ProviderRejected
from service.providers.http import HttpClient
from service.providers.relayed_calls import call

ENDPOINT = "/embeddings"
FORMAT = "encoding_format"
# 2,048 vectors of 3,072 numbers, which is what OpenAI answers at most.
ANSWER = Shape(depth=20, n_containers=20_000, n_values=8_000_000)
BYTES_PER_TOKEN = 4


class HttpEmbeddings:
    """An EmbeddingClient.

    Args:
        secrets: where `api_key_env` and the proxies are looked up, usually the environment.
        clock: the current time, to read dates in `Retry-After`.
    """

    def __init__(self, secrets: Mapping[str, str], clock: Clock) -> None:
        self._secrets = secrets
        self._http = HttpClient(clock, Proxies.of(secrets))
        self._without_format: set[tuple[str | None, str]] = set()  # base URL and model that refused one

    async def embed(
        self, arm: Arm, request: EmbeddingRequest, *, n_dimensions: int | None, timeout_s: float
    ) -> Embeddings:
        clock = asyncio.get_running_loop().time
        until, body = clock() + timeout_s, _upstream_body(arm, request)
        if (arm.base_url, arm.model) in self._without_format:
            body.pop(FORMAT, None)
        try:
            return await self._embedded(arm, request, body, n_dimensions, timeout_s)
        except ProviderRejected as refusal:
            if FORMAT not in body or FORMAT not in f"{refusal.param} {refusal}":
                raise
            self._without_format.add((arm.base_url, arm.model))
            del body[FORMAT]  # numbers come unasked, and become what the client asked for
            return await self._embedded(arm, request, body, n_dimensions, until - clock())

    async def _embedded(
        self, arm: Arm, request: EmbeddingRequest, body: Json, n_dimensions: int | None, timeout_s: float
    ) -> Embeddings:
        post = call(arm, self._secrets, ENDPOINT, body, timeout_s)
        reply = await self._http.answer(post)
        # Thousands of vectors take long enough to read to be noticed on the event loop.
        document = await asyncio.to_thread(_parsed, reply.body)
        if not isinstance(document, dict) or not isinstance(document.get("data"), list):
            raise self._http.refusal(post, document)
        rows = await asyncio.to_thread(partial(_rows, arm, request, document["data"], n_dimensions))
        usage = document.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        n_tokens = _reported_tokens(usage)
        return Embeddings(
            rows,
            _estimated_tokens(request) if n_tokens is None else n_tokens,
            is_estimated=n_tokens is None,
            stated_cost_usd=stated_cost_usd(usage) or reply.stated_cost_usd,
        )

    async def close(self) -> None:
        await self._http.close()


def _upstream_body(arm: Arm, request: EmbeddingRequest) -> Json:
    known = {"user", *arm.extra_fields}
    body: Json = {name: value for name, value in request.others.items() if name in known}
    inputs = [item if isinstance(item, str) else list(item) for item in request.inputs]
    body |= {"model": arm.model, "input": inputs}
    if request.encoding_format == "base64":  # numbers are what every server sends unasked, and some know only
        body[FORMAT] = "base64"
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    return body


def _parsed(body: bytes) -> object:
    try:
        return bounded_json(body, ANSWER)
    except ValueError:
        return None


def _rows(
    arm: Arm, request: EmbeddingRequest, data: list[object], n_dimensions: int | None
) -> tuple[Row, ...]:
    """The vectors in the order of the inputs and in the format of the request.

    Raises:
        ProviderBroken: one is missing, is no vector, or has another length than the others.
    """
    by_index: dict[object, object] = {
        row.get("index", position): row.get("embedding")
        for position, row in enumerate(data)
        if isinstance(row, dict)
    }
    rows = []
    for index in range(len(request.inputs)):
        numbers = numbers_of(by_index.get(index))
        if numbers is None:
            raise ProviderBroken(f"{arm.model} gave no vector for input {index}", status=200)
        n_dimensions = n_dimensions or len(numbers)
        if len(numbers) != n_dimensions:
            raise ProviderBroken(
                f"{arm.model} gave a vector of {len(numbers)} numbers where {n_dimensions} were expected",
                status=200,
            )
        rows.append(as_row(numbers, request.encoding_format))
    if len(data) != len(rows):
        raise ProviderBroken(f"{arm.model} gave {len(data)} vectors for {len(rows)} inputs", status=200)
    return tuple(rows)


def _reported_tokens(usage: Json) -> int | None:
    counts = (usage.get("prompt_tokens"), usage.get("total_tokens"))
    return next((count for count in counts if type(count) is int and count > 0), None)


def _estimated_tokens(request: EmbeddingRequest) -> int:
    n_tokens = sum(len(item) for item in request.inputs if not isinstance(item, str))
    n_bytes = sum(len(item.encode(errors="replace")) for item in request.inputs if isinstance(item, str))
    return n_tokens - (-n_bytes // BYTES_PER_TOKEN)
