"""The adapter of moderations: what goes to the server, and what may come back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.errors import ProviderBroken, ProviderError, ProviderRateLimited, ProviderRejected
from service.providers.moderations import HttpModerations
from tests.service.providers.scripted import KEY, NOW, SECRETS, Upstream, answers, refuses


@pytest.fixture
async def client() -> AsyncIterator[HttpModerations]:
    client = HttpModerations(SECRETS, lambda: NOW)
    yield client
    await client.close()


async def test_the_server_gets_its_own_name_of_the_model_and_its_answer_is_kept(
    upstream: Upstream, client: HttpModerations
) -> None:
    verdict = {"id": "modr-1", "model": "dated", "results": [{"flagged": True, "new_field": 1}], "more": 2}
    upstream.script = answers(verdict)

    assert await client.moderate(upstream.arm(), ["Hi"], timeout_s=20) == verdict
    assert (upstream.paths, upstream.bodies) == (
        ["/v1/moderations"],
        [{"model": "some-model", "input": ["Hi"]}],
    )
    assert upstream.headers[0]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("body", [{}, {"results": []}, {"results": {}}, [], "text", b"no json", None])
async def test_anything_without_verdicts_is_a_failure(
    upstream: Upstream, client: HttpModerations, body: Any
) -> None:
    upstream.script = answers(body)

    with pytest.raises(ProviderBroken):
        await client.moderate(upstream.arm(), "Hi", timeout_s=20)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, ProviderRejected), (401, ProviderBroken), (429, ProviderRateLimited), (500, ProviderBroken)],
)
async def test_a_refusal_is_the_error_that_it_is_for_chats(
    upstream: Upstream, client: HttpModerations, status: int, kind: type[ProviderError]
) -> None:
    upstream.script = refuses(status, f"sorry about {KEY}")

    with pytest.raises(kind) as caught:
        await client.moderate(upstream.arm(), "Hi", timeout_s=20)

    assert KEY not in str(caught.value)
