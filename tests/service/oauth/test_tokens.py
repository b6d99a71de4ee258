"""Tokens in use: refreshed before they expire, once, and kept while something is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from service.errors import LoginRefused, LoginUnavailable, ProviderBroken, StoreUnavailable
from service.oauth.logins import LoginDesk
from tests.fakes import FixedClock
from tests.fakes_oauth import FakeTokenStore
from tests.oauth_server import OAuthServer
from tests.service.oauth.desks import NAME, SECRET, desk_at, log_in

LIFETIME_S = 3600.0
MARGIN_S = 300.0


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


async def test_before_a_login_the_reason_says_where_to_log_in(desk: LoginDesk) -> None:
    with pytest.raises(ProviderBroken, match="log in at /oauth/authorize"):
        await desk.keeper.token(NAME)


async def test_a_token_is_refreshed_in_the_background_before_it_expires(
    desk: LoginDesk, server: OAuthServer, clock: FixedClock
) -> None:
    first = await log_in(desk, server)
    clock.advance(LIFETIME_S - MARGIN_S + 1)

    assert await desk.keeper.token(NAME) == first  # it is still valid, and nobody waits
    await desk.keeper.close()
    second = await desk.keeper.token(NAME)

    assert second != first
    assert server.grants == ["authorization_code", "refresh_token"]


async def test_an_expired_token_is_refreshed_once_for_all_calls_that_need_it(
    desk: LoginDesk, server: OAuthServer, clock: FixedClock
) -> None:
    first = await log_in(desk, server)
    clock.advance(LIFETIME_S + 1)

    tokens = set(await asyncio.gather(*(desk.keeper.token(NAME) for _ in range(20))))

    assert len(tokens) == 1
    assert first not in tokens
    assert server.grants.count("refresh_token") == 1


async def test_replicas_refresh_once_and_all_use_the_new_token(
    desk: LoginDesk, server: OAuthServer, store: FakeTokenStore, clock: FixedClock
) -> None:
    await log_in(desk, server)
    others = [desk_at(server, FakeTokenStore(store.tables), clock) for _ in range(3)]
    for other in others:
        await other.keeper.start()
    clock.advance(LIFETIME_S + 1)

    tokens = await asyncio.gather(*(d.keeper.token(NAME) for d in (desk, *others)))

    assert len(set(tokens)) == 1
    assert server.grants.count("refresh_token") == 1


async def test_a_refused_token_is_renewed_once(desk: LoginDesk, server: OAuthServer) -> None:
    first = await log_in(desk, server)

    second, same = [await desk.keeper.renewed(NAME, first) for _ in range(2)]

    assert first != second == same
    assert server.grants.count("refresh_token") == 1


@pytest.mark.parametrize("rotates", [True, False])
async def test_a_refresh_token_is_kept_unless_the_server_gives_a_new_one(
    desk: LoginDesk, server: OAuthServer, rotates: bool
) -> None:
    server.behaviour.rotates = rotates
    token = await log_in(desk, server)

    for _ in range(3):
        token = await desk.keeper.renewed(NAME, token)

    assert server.grants.count("refresh_token") == 3


async def test_a_revoked_login_is_refused_with_the_place_to_log_in_and_no_secret(
    desk: LoginDesk, server: OAuthServer, store: FakeTokenStore, clock: FixedClock
) -> None:
    first = await log_in(desk, server)
    server.refresh_tokens.clear()

    with pytest.raises(ProviderBroken, match="log in at /oauth/authorize") as refused:
        await desk.keeper.renewed(NAME, first)

    assert "invalid_grant" in str(refused.value)
    assert not any(secret in str(refused.value) for secret in server.issued)
    other = desk_at(server, FakeTokenStore(store.tables), clock)
    await other.keeper.start()
    assert "invalid_grant" in str(other.keeper.problem(NAME))
    with pytest.raises(LoginRefused, match="invalid_grant"):
        await other.refresh(NAME)
    await log_in(desk, server)  # cures it
    assert desk.keeper.problem(NAME) is None


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, "down"),
        (429, '{"message": "slow down"}'),
        (400, '{"error": "invalid_client"}'),
        (200, "no JSON"),
    ],
)
async def test_a_failing_server_ends_no_login(
    desk: LoginDesk, server: OAuthServer, clock: FixedClock, status: int, body: str
) -> None:
    first = await log_in(desk, server)
    server.behaviour.token_status, server.behaviour.token_body = (
        (status, body) if status != 200 else (203, body)
    )

    with pytest.raises(LoginUnavailable):
        await desk.refresh(NAME)

    assert desk.status(NAME).state == "refresh_failed"
    assert await desk.keeper.token(NAME) == first
    server.behaviour.token_status = 200
    clock.advance(LIFETIME_S + 1)
    assert await desk.keeper.token(NAME) != first


async def test_a_token_that_expired_while_the_server_is_down_is_not_asked_for_by_every_request(
    desk: LoginDesk, server: OAuthServer, clock: FixedClock
) -> None:
    await log_in(desk, server)
    server.behaviour.token_status = 500
    clock.advance(LIFETIME_S + 1)

    for _ in range(5):
        with pytest.raises(ProviderBroken, match="could not be refreshed"):
            await desk.keeper.token(NAME)

    assert server.grants.count("refresh_token") == 1
    clock.advance(20)
    server.behaviour.token_status = 200
    assert desk.keeper.problem(NAME) is None
    assert await desk.keeper.token(NAME)


async def test_a_slow_server_is_given_up(
    desk: LoginDesk, server: OAuthServer, store: FakeTokenStore, clock: FixedClock
) -> None:
    first = await log_in(desk, server)
    hasty = desk_at(server, FakeTokenStore(store.tables), clock, timeout_s=0.1)
    await hasty.keeper.start()
    server.behaviour.may_answer = asyncio.Event()

    with pytest.raises(ProviderBroken, match="gave no answer within"):
        await hasty.keeper.renewed(NAME, first)

    server.behaviour.may_answer.set()


async def test_the_end_of_the_request_that_began_a_refresh_does_not_lose_the_new_token(
    desk: LoginDesk, server: OAuthServer
) -> None:
    first = await log_in(desk, server)
    server.behaviour.may_answer = asyncio.Event()
    server.is_asked.clear()
    asking = asyncio.create_task(desk.keeper.renewed(NAME, first))
    await server.is_asked.wait()
    asking.cancel()
    server.behaviour.may_answer.set()

    await desk.keeper.close()

    assert await desk.keeper.token(NAME) != first


async def test_without_postgresql_the_last_token_remains_in_use_and_is_not_refreshed(
    desk: LoginDesk, server: OAuthServer, store: FakeTokenStore, clock: FixedClock
) -> None:
    first = await log_in(desk, server)
    store.tables.is_away = True
    clock.advance(LIFETIME_S - MARGIN_S + 1)

    with pytest.raises(StoreUnavailable):
        await desk.keeper.follow()
    assert await desk.keeper.token(NAME) == first
    clock.advance(MARGIN_S)
    with pytest.raises(ProviderBroken, match="PostgreSQL does not answer"):
        await desk.keeper.token(NAME)

    assert server.grants == ["authorization_code"]


async def test_a_new_token_that_could_not_be_stored_is_stored_later(
    desk: LoginDesk, server: OAuthServer, store: FakeTokenStore, clock: FixedClock
) -> None:
    first = await log_in(desk, server)
    server.behaviour.may_answer = asyncio.Event()
    server.is_asked.clear()
    renewing = asyncio.create_task(desk.keeper.renewed(NAME, first))
    await server.is_asked.wait()
    store.tables.is_away = True
    server.behaviour.may_answer.set()
    await asyncio.wait({renewing})
    second = await desk.keeper.token(NAME)
    store.tables.is_away = False
    await desk.keeper.follow()

    other = desk_at(server, FakeTokenStore(store.tables), clock)
    await other.keeper.start()
    assert first != second == await other.keeper.token(NAME)


async def test_tokens_are_stored_encrypted_and_another_secret_needs_a_new_login(
    desk: LoginDesk, server: OAuthServer, store: FakeTokenStore, clock: FixedClock
) -> None:
    await log_in(desk, server)

    sealed = store.tables.tokens[NAME].sealed
    assert not any(token.encode() in sealed for token in server.issued)
    rotated = desk_at(server, FakeTokenStore(store.tables), clock, secrets=(SECRET[::-1], SECRET))
    await rotated.keeper.start()
    assert await rotated.keeper.token(NAME) == await desk.keeper.token(NAME)
    other = desk_at(server, FakeTokenStore(store.tables), clock, secrets=(SECRET[::-1],))
    await other.keeper.start()
    assert "encrypted with another SECRET_KEY" in str(other.keeper.problem(NAME))


async def test_a_token_without_a_refresh_token_serves_until_it_expires(
    desk: LoginDesk, server: OAuthServer, clock: FixedClock
) -> None:
    server.behaviour.gives_refresh_tokens = False
    token = await log_in(desk, server)
    clock.advance(LIFETIME_S - 1)
    assert await desk.keeper.token(NAME) == token
    clock.advance(2)

    assert "has expired: log in at" in str(desk.keeper.problem(NAME))
    assert server.grants == ["authorization_code"]


@pytest.mark.parametrize("lifetime_s", [None, "soon", -1, 0, "nan", "1e400"])
async def test_a_token_of_unknown_lifetime_serves_until_it_is_refused(
    desk: LoginDesk, server: OAuthServer, clock: FixedClock, lifetime_s: object
) -> None:
    server.behaviour.lifetime_s = lifetime_s
    token = await log_in(desk, server)
    clock.advance(10 * LIFETIME_S)

    assert await desk.keeper.token(NAME) == token
    assert await desk.keeper.renewed(NAME, token) != token
