"""/oauth: from a login in a browser to a model call whose provider checks the token."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from service.domain.arm import FREE, Arm
from service.domain.basics import Json
from service.oauth.logins import LoginDesk
from service.providers.clients import build_provider_clients
from service.providers.logged_in import LoggedInClient
from service.providers.simulator.simulator import SimulatedClient
from tests.fakes import FixedClock
from tests.fakes_oauth import FakeTokenStore
from tests.keyed_upstream import TEXT, KeyedUpstream
from tests.oauth_server import OAuthServer
from tests.service.oauth.desks import NAME, desk_at
from tests.service.world import World, error_of, opened

# LiteLLM loads its parts at their first use, and some of them warn.
pytestmark = pytest.mark.filterwarnings("ignore")
ADMIN = "the-admin-key-of-this-router"
AS_ADMIN = {"Authorization": f"Bearer {ADMIN}"}
ASKED = [{"role": "user", "content": "What is a bandit?"}]
VENDOR = {"provider": NAME}


@dataclass
class LoggedIn:
    world: World
    upstream: KeyedUpstream
    server: OAuthServer
    desk: LoginDesk

    @property
    def http(self) -> httpx.AsyncClient:
        return self.world.http

    async def log_in(self) -> httpx.Response:
        """The answer of the callback of a new login."""
        begun = await self.http.post("/oauth/authorize", json=VENDOR, headers=AS_ADMIN)
        return await self.http.get(await self.server.approve(begun.json()["authorize_url"]))

    async def ask(self, model: str, *, stream: bool = False) -> httpx.Response:
        body = {"model": model, "messages": ASKED, "stream": stream}
        return await self.http.post("/v1/chat/completions", json=body)

    async def status(self) -> Json:
        answer = await self.http.get("/oauth/status", headers=AS_ADMIN)
        [status] = answer.json()["providers"]
        return dict(status)

    @property
    def sent(self) -> list[str]:
        return [value.removeprefix("Bearer ") for name, value in self.upstream.seen]


@pytest.fixture
async def logged_in(tmp_path: Path) -> AsyncIterator[LoggedIn]:
    async with KeyedUpstream({"house": 200}) as upstream, OAuthServer(upstream.keys) as server:
        gpt = Arm("gpt", "openai", "gpt", base_url=f"{upstream.origin}/v1", price=FREE, auth=NAME)
        claude = replace(gpt, arm_id="claude", provider="anthropic", base_url=upstream.origin)
        house = replace(gpt, arm_id="house", auth=None, api_key_env="HOUSE_KEY")
        clock = FixedClock()
        desk = desk_at(server, FakeTokenStore(), clock, base_url=upstream.origin)
        await desk.keeper.start()
        clients = build_provider_clients({"HOUSE_KEY": "house"}, clock, simulator=SimulatedClient())
        async with opened(
            tmp_path,
            [house, gpt, claude],
            calling=LoggedInClient(clients, desk.keeper),
            logins=desk,
            admin_key=ADMIN,
        ) as world:
            yield LoggedIn(world, upstream, server, desk)
        await clients.close()


@pytest.mark.parametrize("stream", [False, True])
async def test_after_a_login_the_models_are_called_with_its_token(logged_in: LoggedIn, stream: bool) -> None:
    page = await logged_in.log_in()
    answers = [await logged_in.ask(model, stream=stream) for model in ("gpt", "claude")]
    message = await logged_in.http.post(
        "/v1/messages", json={"model": "claude", "max_tokens": 9, "messages": ASKED, "stream": stream}
    )

    assert (page.status_code, page.headers["cache-control"]) == (200, "no-store")
    assert "Logged in to vendor" in page.text
    assert [TEXT in answer.text for answer in (*answers, message)] == [True] * 3
    token = await logged_in.desk.keeper.token(NAME)
    assert logged_in.upstream.seen == [("authorization", f"Bearer {token}")] * 3


async def test_a_browser_is_led_to_the_provider(logged_in: LoggedIn) -> None:
    led = await logged_in.http.get("/oauth/authorize", params=VENDOR, headers=AS_ADMIN)

    assert led.status_code == 302
    assert led.headers["referrer-policy"] == "no-referrer"
    done = await logged_in.http.get(await logged_in.server.approve(led.headers["location"]))
    assert done.status_code == 200


async def test_before_a_login_the_model_is_refused_with_the_reason_and_others_answer(
    logged_in: LoggedIn,
) -> None:
    answer, named = await logged_in.ask("auto"), await logged_in.ask("gpt")

    assert answer.headers["x-router-model"] == "house"
    record = await logged_in.world.record(answer.headers["x-request-id"])
    reasons = {r["model"]: r["reason"] for r in record["rejected"]}
    assert reasons["gpt"] == "vendor is not logged in to: log in at /oauth/authorize?provider=vendor"
    assert (named.status_code, logged_in.sent) == (400, ["house"])
    health = (await logged_in.http.get("/health")).json()
    assert reasons["gpt"] in health["warnings"]
    backends = (await logged_in.http.get("/backends/status")).json()["models"]
    assert [m["login"] for m in backends] == [None, *[{"provider": NAME, "problem": reasons["gpt"]}] * 2]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_token_that_the_provider_refuses_is_renewed_once_and_the_call_repeated(
    logged_in: LoggedIn, stream: bool
) -> None:
    await logged_in.log_in()
    first = await logged_in.desk.keeper.token(NAME)
    del logged_in.upstream.keys[first]

    answer = await logged_in.ask("gpt", stream=stream)

    second = await logged_in.desk.keeper.token(NAME)
    assert (answer.status_code, TEXT in answer.text) == (200, True)
    assert logged_in.sent == [first, second]
    state = logged_in.world.parts.catalog.breaker.state_of(logged_in.world.parts.catalog.known("gpt"))
    assert state.n_failures == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_revoked_login_is_told_without_a_secret_and_others_answer(
    logged_in: LoggedIn, stream: bool
) -> None:
    await logged_in.log_in()
    logged_in.upstream.keys.clear()
    logged_in.upstream.keys["house"] = 200
    logged_in.server.refresh_tokens.clear()

    named = await logged_in.ask("gpt", stream=stream)
    other = await logged_in.ask("auto")

    assert named.status_code == 503
    assert "log in at /oauth/authorize?provider=vendor" in error_of(named)["message"]
    assert other.headers["x-router-model"] == "house"
    status = await logged_in.status()
    assert (status["state"], status["models"]) == ("expired", ["house", "gpt", "claude"][1:])
    shown = named.text + str(status) + (await logged_in.http.get("/health")).text
    assert not any(secret in shown for secret in logged_in.server.issued)


async def test_a_call_is_repeated_only_once(logged_in: LoggedIn) -> None:
    await logged_in.log_in()
    logged_in.upstream.keys = {}  # refuses every token

    answer = await logged_in.ask("gpt")

    assert answer.status_code == 503
    assert logged_in.server.grants.count("refresh_token") == len(logged_in.sent) // 2


async def test_refresh_and_logout(logged_in: LoggedIn) -> None:
    await logged_in.log_in()
    first = await logged_in.desk.keeper.token(NAME)

    refreshed = await logged_in.http.post("/oauth/refresh", json=VENDOR, headers=AS_ADMIN)
    second = await logged_in.desk.keeper.token(NAME)
    ended = await logged_in.http.post("/oauth/logout", json=VENDOR, headers=AS_ADMIN)
    again = await logged_in.http.post("/oauth/refresh", json=VENDOR, headers=AS_ADMIN)

    assert (refreshed.json()["state"], first != second) == ("logged_in", True)
    assert (ended.json()["state"], ended.json()["not_revoked"]) == ("logged_out", None)
    assert (again.status_code, error_of(again)["code"]) == (400, "login_refused")
    assert not any(s in refreshed.text + ended.text + again.text for s in logged_in.server.issued)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/oauth/authorize?provider=vendor"),
        ("POST", "/oauth/authorize"),
        ("GET", "/oauth/status"),
        ("POST", "/oauth/refresh"),
        ("POST", "/oauth/logout"),
    ],
)
async def test_every_path_but_the_callback_needs_the_admin_key(
    logged_in: LoggedIn, method: str, path: str
) -> None:
    body = VENDOR if method == "POST" else None
    answer = await logged_in.http.request(method, path, json=body)

    assert (answer.status_code, error_of(answer)["code"]) == (401, "invalid_api_key")


@pytest.mark.parametrize("query", ["", "?state=", "?state=x&code=y", "?code=y", "?error=access_denied"])
async def test_a_callback_without_the_state_of_a_login_is_refused(logged_in: LoggedIn, query: str) -> None:
    answer = await logged_in.http.get(f"/oauth/callback{query}")

    assert (answer.status_code, error_of(answer)["code"]) == (400, "login_refused")
    assert logged_in.server.grants == []


@pytest.mark.parametrize(
    ("path", "body", "rule"),
    [
        ("/oauth/authorize", {"provider": "nobody"}, "must be one of vendor"),
        ("/oauth/logout", {}, "provider: field is required"),
        ("/oauth/refresh", {"provider": "vendor", "token": "x"}, "token"),
    ],
)
async def test_a_wrong_body_is_told_by_field_and_rule(
    logged_in: LoggedIn, path: str, body: Json, rule: str
) -> None:
    answer = await logged_in.http.post(path, json=body, headers=AS_ADMIN)

    assert answer.status_code == 400
    assert rule in error_of(answer)["message"]


async def test_a_router_without_logins_says_so(world: World) -> None:
    answer = await world.http.get("/oauth/status")

    assert (answer.status_code, error_of(answer)["code"]) == (501, "endpoint_not_configured")
