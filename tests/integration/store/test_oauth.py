"""The contract of token stores, and two replicas on one PostgreSQL that refresh once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from service.domain.oauth import PendingLogin, SealedTokens
from service.errors import StoreUnavailable
from service.oauth.token_store import TokenStore
from service.store.connection.pool import Database
from service.store.oauth import MOST_PENDING, PostgresTokenStore
from tests.fakes import FixedClock
from tests.fakes_oauth import FakeTokenStore
from tests.fakes_store import FakeStore
from tests.integration.postgres_server import PostgresServer, migrate_database
from tests.integration.stores import NOW
from tests.oauth_server import OAuthServer
from tests.service.oauth.desks import NAME, desk_at, log_in

TOKENS = SealedTokens("vendor", b"sealed", uuid4(), NOW)
PENDING = PendingLogin("vendor", b"sealed", NOW + timedelta(minutes=10))
ME, OTHER = uuid4(), uuid4()


@pytest.fixture
def store(backing: FakeStore | Database) -> TokenStore:
    return FakeTokenStore() if isinstance(backing, FakeStore) else PostgresTokenStore(backing)


async def test_a_newer_version_replaces_the_stored_one(store: TokenStore) -> None:
    newer = replace(TOKENS, version=uuid4(), sealed=b"newer")
    assert await store.put(TOKENS)

    assert not await store.put(newer, instead_of=uuid4())
    assert await store.tokens() == {"vendor": TOKENS}
    assert await store.put(newer, instead_of=TOKENS.version)
    assert await store.tokens() == {"vendor": newer}
    await store.delete("vendor")
    assert await store.tokens() == {}
    assert not await store.put(newer, instead_of=TOKENS.version)


async def test_one_holder_at_a_time_may_refresh_a_version(store: TokenStore) -> None:
    await store.put(TOKENS)

    assert await store.lease("vendor", TOKENS.version, ME, 30)
    assert await store.lease("vendor", TOKENS.version, ME, 30)
    assert not await store.lease("vendor", TOKENS.version, OTHER, 30)
    await store.release("vendor", OTHER)
    assert not await store.lease("vendor", TOKENS.version, OTHER, 30)
    await store.release("vendor", ME)
    assert await store.lease("vendor", TOKENS.version, OTHER, 30)
    assert not await store.lease("vendor", uuid4(), OTHER, 30)
    assert not await store.lease("nobody", TOKENS.version, OTHER, 30)


async def test_a_failed_login_is_refreshed_by_nobody_until_the_next_login(store: TokenStore) -> None:
    await store.put(TOKENS)
    await store.fail("vendor", uuid4(), "of another version")
    assert (await store.tokens())["vendor"].problem is None

    await store.fail("vendor", TOKENS.version, "revoked")

    assert (await store.tokens())["vendor"].problem == "revoked"
    assert not await store.lease("vendor", TOKENS.version, ME, 30)
    await store.put(replace(TOKENS, version=uuid4()))
    assert (await store.tokens())["vendor"].problem is None


async def test_a_begun_login_is_claimed_once(store: TokenStore) -> None:
    await store.begin(b"1" * 32, PENDING, NOW)

    claims = await asyncio.gather(*(store.claim(b"1" * 32) for _ in range(5)))

    assert sorted(claim == PENDING for claim in claims) == [False] * 4 + [True]
    assert await store.claim(b"2" * 32) is None


async def test_expired_logins_are_forgotten(store: TokenStore) -> None:
    await store.begin(b"1" * 32, PENDING, NOW)
    await store.begin(b"2" * 32, PENDING, PENDING.expires_at)

    assert await store.claim(b"1" * 32) is None
    assert await store.claim(b"2" * 32) == PENDING


async def test_the_oldest_begun_logins_are_forgotten_beyond_a_number(database: Database) -> None:
    store = PostgresTokenStore(database)
    for n in range(MOST_PENDING + 3):
        later = replace(PENDING, expires_at=PENDING.expires_at + timedelta(seconds=n))
        await store.begin(n.to_bytes(32, "big"), later, NOW)

    async with database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM oauth_logins") == MOST_PENDING + 1


async def test_an_expired_lease_is_free(database: Database) -> None:
    store = PostgresTokenStore(database)
    await store.put(TOKENS)
    assert await store.lease("vendor", TOKENS.version, ME, 0)

    assert await store.lease("vendor", TOKENS.version, OTHER, 30)


@pytest.fixture
async def server() -> AsyncIterator[OAuthServer]:
    async with OAuthServer({}) as server:
        yield server


async def test_two_replicas_refresh_once_and_hear_of_logins_and_logouts(
    dsn: str, server: OAuthServer
) -> None:
    clock, databases = FixedClock(), [Database(dsn, command_timeout_s=10.0) for _ in range(2)]
    first, second = [
        desk_at(server, PostgresTokenStore(database, poll_every_s=60.0), clock) for database in databases
    ]
    for desk in (first, second):
        await desk.keeper.start()
    try:
        token = await log_in(first, server)
        await until(lambda: second.keeper.problem(NAME) is None)
        assert await second.keeper.token(NAME) == token
        clock.advance(3601)

        tokens = await asyncio.gather(*(d.keeper.token(NAME) for d in (first, second) for _ in range(5)))

        assert (len(set(tokens)), server.grants.count("refresh_token")) == (1, 1)
        assert token not in tokens
        await second.log_out(NAME)
        await until(lambda: first.keeper.held(NAME) is None)
    finally:
        for desk in (first, second):
            await desk.keeper.close()
        for database in databases:
            await database.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a notification to arrive."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  # it polls what another connection changes
            await asyncio.sleep(0.01)


async def test_while_postgresql_is_away_the_last_token_is_used(
    postgres_server: PostgresServer, server: OAuthServer
) -> None:
    await migrate_database(postgres_server.dsn)
    clock, database = FixedClock(), Database(postgres_server.dsn)
    desk = desk_at(server, PostgresTokenStore(database), clock)
    await desk.keeper.start()
    try:
        token = await log_in(desk, server)
        postgres_server.stop()
        with pytest.raises(StoreUnavailable):
            await desk.keeper.follow()

        assert await desk.keeper.token(NAME) == token
    finally:
        await desk.keeper.close()
        await database.close()
