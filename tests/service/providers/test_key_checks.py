from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from service.domain.arm import Arm
from service.providers.key_checks import HttpKeyChecks
from tests.service.providers.scripted import KEY, NOW, SECRETS, listening


class Server:
    """A server that lists its models to who has the key, and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.status = 200
        self.base_url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(
            (request.path, request.headers.get("Authorization") or request.headers.get("x-api-key"))
        )
        if self.status == 200:
            return web.json_response({"data": []})
        return web.json_response({"error": {"message": f"no: {KEY}"}}, status=self.status)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    async with listening(server.handle) as server.base_url:
        yield server


@pytest.fixture
async def key_checks() -> AsyncIterator[HttpKeyChecks]:
    key_checks = HttpKeyChecks(SECRETS, lambda: NOW, timeout_s=5.0)
    yield key_checks
    await key_checks.close()


async def test_a_server_that_lists_its_models_accepts_the_key(
    server: Server, key_checks: HttpKeyChecks
) -> None:
    openai = Arm("a", "openai", "m", base_url=f"{server.base_url}/v1", api_key_env="UPSTREAM_KEY")
    anthropic = Arm("b", "anthropic", "m", base_url=server.base_url, api_key_env="UPSTREAM_KEY")

    checks = [await key_checks.check(openai), await key_checks.check(anthropic)]

    assert [(check.state, check.reason, check.at) for check in checks] == [("accepted", None, NOW)] * 2
    assert server.asked == [("/v1/models", f"Bearer {KEY}"), ("/v1/models", KEY)]


@pytest.mark.parametrize(
    ("status", "state"),
    [(401, "rejected"), (403, "rejected"), (404, "unknown"), (500, "unknown"), (429, "unknown")],
)
async def test_only_401_and_403_reject_a_key(
    server: Server, key_checks: HttpKeyChecks, status: int, state: str
) -> None:
    server.status = status

    check = await key_checks.check(
        Arm("a", "openai", "m", base_url=f"{server.base_url}/v1", api_key_env="UPSTREAM_KEY")
    )

    assert check.state == state
    assert str(status) in str(check.reason)
    assert KEY not in str(check.reason)


async def test_a_key_is_unknown_without_an_answer_and_rejected_if_it_is_not_set(
    key_checks: HttpKeyChecks,
) -> None:
    unreachable = await key_checks.check(Arm("a", "openai", "m", base_url="http://127.0.0.1:9/v1"))
    other = await key_checks.check(Arm("b", "litellm", "groq/m"))
    without = await key_checks.check(Arm("c", "openai", "m", api_key_env="NOT_SET"))

    assert [check.state for check in (unreachable, other, without)] == ["unknown", "unknown", "rejected"]
    assert "NOT_SET is not set" in str(without.reason)


async def test_a_keyless_arm_is_checked_without_a_key(server: Server, key_checks: HttpKeyChecks) -> None:
    arm = Arm("b", "anthropic", "m", base_url=server.base_url)

    assert (await key_checks.check(arm)).state == "accepted"
    assert server.asked == [("/v1/models", None)]
