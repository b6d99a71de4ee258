"""Logins: the state is checked and used once, and what the provider refuses is told without secrets."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from service.errors import BadRequest, LoginRefused, LoginUnavailable
from service.oauth.logins import LOGIN_S, LoginDesk
from tests.fakes import FixedClock
from tests.fakes_oauth import FakeTokenStore
from tests.oauth_server import OAuthServer, parameters
from tests.service.oauth.desks import NAME, SECRET, desk_at, log_in


@pytest.fixture
async def server() -> AsyncIterator[OAuthServer]:
    async with OAuthServer({}) as server:
        yield server


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def store() -> FakeTokenStore:
    return FakeTokenStore()


@pytest.fixture
async def desk(server: OAuthServer, store: FakeTokenStore, clock: FixedClock) -> LoginDesk:
    desk = desk_at(server, store, clock)
    await desk.keeper.start()
    return desk


async def callback(desk: LoginDesk, server: OAuthServer) -> dict[str, str]:
    """The parameters of the callback of a new login."""
    return parameters(await server.approve((await desk.begin(NAME, 8080)).url))


async def test_a_login_uses_pkce_the_scopes_and_loopback_and_ends_with_a_token(
    desk: LoginDesk, server: OAuthServer, clock: FixedClock
) -> None:
    begun = await desk.begin(NAME, 9999)

    asked = parameters(begun.url)
    assert asked["redirect_uri"] == begun.redirect_url == "http://127.0.0.1:9999/oauth/callback"
    assert (asked["scope"], asked["code_challenge_method"]) == ("models.call", "S256")
    assert "nonce" not in asked
    assert (begun.expires_at - clock()).total_seconds() == LOGIN_S
    assert desk.status(NAME).state == "logged_out"
    answer = parameters(await server.approve(begun.url))
    assert await desk.finish(answer["state"], answer["code"], None) == NAME
    assert (desk.status(NAME).state, desk.status(NAME).is_refreshable) == ("logged_in", True)
    assert await desk.keeper.token(NAME) in server.keys


async def test_a_login_that_begins_at_one_replica_may_end_at_another(
    desk: LoginDesk, server: OAuthServer, store: FakeTokenStore, clock: FixedClock
) -> None:
    other = desk_at(server, FakeTokenStore(store.tables), clock)
    answer = await callback(desk, server)

    assert await other.finish(answer["state"], answer["code"], None) == NAME


async def test_a_public_client_needs_no_secret(store: FakeTokenStore, clock: FixedClock) -> None:
    async with OAuthServer({}, is_public=True) as server:
        desk = desk_at(server, store, clock)

        assert await log_in(desk, server)
        await desk.refresh(NAME)


async def test_a_state_is_good_once(desk: LoginDesk, server: OAuthServer) -> None:
    answer = await callback(desk, server)
    await desk.finish(answer["state"], answer["code"], None)

    with pytest.raises(LoginRefused, match="no login with this state"):
        await desk.finish(answer["state"], answer["code"], None)
    assert server.grants == ["authorization_code"]


@pytest.mark.parametrize("state", ["", "another", "\udcff"])
async def test_an_unknown_state_is_refused_before_the_code_goes_anywhere(
    desk: LoginDesk, server: OAuthServer, state: str
) -> None:
    answer = await callback(desk, server)

    with pytest.raises(LoginRefused, match="no login with this state"):
        await desk.finish(state, answer["code"], None)
    assert server.grants == []


async def test_a_state_expires(desk: LoginDesk, server: OAuthServer, clock: FixedClock) -> None:
    answer = await callback(desk, server)
    clock.advance(LOGIN_S)

    with pytest.raises(LoginRefused, match="took longer than 600 s"):
        await desk.finish(answer["state"], answer["code"], None)
    assert server.grants == []


async def test_the_state_is_stored_as_a_digest_and_the_verifier_encrypted(
    desk: LoginDesk, store: FakeTokenStore
) -> None:
    begun = await desk.begin(NAME, 8080)

    [(digest, pending)] = store.tables.logins.items()
    assert parameters(begun.url)["state"].encode() not in digest + pending.sealed
    assert b"127.0.0.1" not in pending.sealed


async def test_a_denied_login_is_refused_and_its_state_is_used(desk: LoginDesk, server: OAuthServer) -> None:
    server.behaviour.denies = True
    answer = await callback(desk, server)

    with pytest.raises(LoginRefused, match="access_denied"):
        await desk.finish(answer["state"], None, answer["error"])
    with pytest.raises(LoginRefused, match="no login with this state"):
        await desk.finish(answer["state"], None, answer["error"])


async def test_an_error_that_is_no_code_is_not_repeated(desk: LoginDesk, server: OAuthServer) -> None:
    answer = await callback(desk, server)

    with pytest.raises(LoginRefused, match="no code came"):
        await desk.finish(answer["state"], None, "<script>alert(1)</script>")


async def test_an_expired_code_is_refused_without_being_quoted(desk: LoginDesk, server: OAuthServer) -> None:
    server.behaviour.codes_expire = True
    answer = await callback(desk, server)

    with pytest.raises(LoginRefused, match=r"invalid_grant: the code \*\*\* has expired") as refused:
        await desk.finish(answer["state"], answer["code"], None)
    assert answer["code"] not in str(refused.value)
    assert desk.status(NAME).state == "logged_out"


async def test_a_server_that_is_down_is_told_as_such(desk: LoginDesk, server: OAuthServer) -> None:
    answer = await callback(desk, server)
    server.behaviour.token_status = 500

    with pytest.raises(LoginUnavailable, match="HTTP 500"):
        await desk.finish(answer["state"], answer["code"], None)


@pytest.mark.parametrize("is_wrong", [False, True])
async def test_the_nonce_of_an_id_token_must_be_that_of_the_login(
    server: OAuthServer, store: FakeTokenStore, clock: FixedClock, is_wrong: bool
) -> None:
    desk = desk_at(server, store, clock, scopes=("openid",))
    server.behaviour.wrong_nonce = is_wrong
    answer = await callback(desk, server)

    if not is_wrong:
        assert await desk.finish(answer["state"], answer["code"], None) == NAME
        return
    with pytest.raises(LoginRefused, match="another nonce"):
        await desk.finish(answer["state"], answer["code"], None)


@pytest.mark.parametrize("status", [200, 500])
async def test_a_logout_forgets_the_token_everywhere_and_revokes_it(
    desk: LoginDesk, server: OAuthServer, store: FakeTokenStore, clock: FixedClock, status: int
) -> None:
    server.behaviour.revoke_status = status
    await log_in(desk, server)
    other = desk_at(server, FakeTokenStore(store.tables), clock)
    await other.keeper.start()

    not_revoked = await desk.log_out(NAME)
    await other.keeper.follow()

    assert not_revoked == (None if status == 200 else "the provider answered 500")
    assert server.revoked == [token for token in server.issued if token.startswith("refresh")]
    assert desk.status(NAME).state == other.status(NAME).state == "logged_out"
    assert await desk.log_out(NAME) is None


async def test_an_entry_that_does_not_exist_is_named_with_those_that_do(desk: LoginDesk) -> None:
    with pytest.raises(BadRequest, match="provider must be one of vendor, got 'nobody'"):
        await desk.begin("nobody", 8080)


async def test_no_secret_is_in_the_text_of_a_value(desk: LoginDesk, server: OAuthServer) -> None:
    await log_in(desk, server)

    shown = repr(desk) + repr(desk.keeper.held(NAME)) + repr(desk.status(NAME))
    assert not any(secret in shown for secret in (*server.issued, SECRET, "the-secret-of"))
