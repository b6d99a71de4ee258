"""The contract of stores of keys, and replicas that follow one table."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from asyncpg import CheckViolationError

from service.access.key_copy import KeyCopy
from service.access.key_desk import KeyDesk, NewKey
from service.access.key_digests import KeyDigests
from service.access.key_store import ApiKeyStore
from service.access.keyring import Keyring
from service.domain.api_key import ApiKey
from service.errors import KeyRequired, Unavailable
from service.store.api_keys import PostgresApiKeyStore
from service.store.connection.pool import Database
from tests.fakes import FixedClock
from tests.fakes_keys import FakeApiKeyStore
from tests.fakes_store import FakeStore
from tests.integration.postgres_server import PostgresServer, migrate_database
from tests.integration.stores import NOW

KEY = ApiKey(
    uuid4(), "app", "shop", frozenset({"read", "feedback"}), frozenset({"small"}), b"d" * 32, "secret", NOW
)
DIGESTS = KeyDigests(["a-secret-of-this-test-with-32-characters"])
WANTED = NewKey("app", "shop", frozenset({"inference"}), limits={"usd": ("5/day",)})


@pytest.fixture
def store(backing: FakeStore | Database) -> ApiKeyStore:
    return FakeApiKeyStore() if isinstance(backing, FakeStore) else PostgresApiKeyStore(backing)


async def test_a_key_is_read_as_it_was_added(store: ApiKeyStore) -> None:
    newer = replace(KEY, key_id=uuid4(), models=None, digest=b"e" * 32, created_at=NOW + timedelta(1))
    newer = replace(newer, replaces=KEY.key_id, expires_at=NOW + timedelta(days=9))
    await store.add(KEY)
    await store.add(newer)

    assert await store.all() == [newer, KEY]
    assert {*await store.changed()} == {newer, KEY}


async def test_an_end_is_never_postponed(store: ApiKeyStore) -> None:
    await store.add(replace(KEY, expires_at=NOW + timedelta(hours=1)))

    await store.end(KEY.key_id, revoked_at=None, expires_at=NOW + timedelta(hours=2))
    await store.end(KEY.key_id, revoked_at=NOW, expires_at=None)
    await store.end(KEY.key_id, revoked_at=NOW + timedelta(hours=3), expires_at=None)

    (ended,) = await store.all()
    assert (ended.expires_at, ended.revoked_at) == (NOW + timedelta(hours=1), NOW)


async def test_uses_are_recorded(store: ApiKeyStore) -> None:
    await store.add(KEY)

    await store.note_uses({KEY.key_id: NOW})

    assert [key.last_used_at for key in await store.all()] == [NOW]


@pytest.mark.parametrize("scopes", [frozenset[str](), frozenset({"everything"})])
async def test_a_key_without_a_known_scope_cannot_be_stored(database: Database, scopes: Any) -> None:
    with pytest.raises(CheckViolationError, match=r"api_keys_(scopes_)?check"):
        await PostgresApiKeyStore(database).add(replace(KEY, scopes=scopes))


async def test_a_revoked_key_is_refused_in_every_replica_by_a_notification(dsn: str, tmp_path: Path) -> None:
    clock, databases = FixedClock(), [Database(dsn, command_timeout_s=10.0) for _ in range(2)]
    stores = [PostgresApiKeyStore(database, poll_every_s=3600.0) for database in databases]
    rings = [Keyring(store, DIGESTS, clock, KeyCopy(tmp_path / "keys")) for store in stores]
    desk = KeyDesk(stores[0], DIGESTS, clock)
    for ring in rings:
        await ring.start()
    try:
        issued = await desk.create(WANTED)
        await until(lambda: all(ring.are_in_use for ring in rings))
        callers = [ring.caller(issued.secret) for ring in rings]
        await desk.revoke("app")
        await until(lambda: not any(ring.are_in_use for ring in rings))

        assert [(caller.tenant, caller.key_name) for caller in callers] == [("shop", "app")] * 2
        for ring in rings:
            with pytest.raises(KeyRequired, match="was revoked"):
                ring.caller(issued.secret)
    finally:
        for ring in rings:
            await ring.close()
        for database in databases:
            await database.close()


async def test_the_database_has_nothing_that_lets_anybody_in(database: Database) -> None:
    store = PostgresApiKeyStore(database)
    issued = await KeyDesk(store, DIGESTS, FixedClock()).create(WANTED)

    async with database.connection() as connection:
        row = str(await connection.fetchrow("SELECT * FROM api_keys"))
    (stored,) = await store.all()

    assert issued.secret not in row
    assert issued.secret.removeprefix("rk-") not in row
    assert stored.digest not in KeyDigests(["another-secret-with-32-characters-or-more"]).of(issued.secret)
    assert stored.digest != sha256(issued.secret.encode()).digest()


async def test_keys_hold_while_postgresql_is_away_also_after_a_restart_in_the_same_folder(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    await migrate_database(postgres_server.dsn)
    clock, database = FixedClock(), Database(postgres_server.dsn)
    store = PostgresApiKeyStore(database)
    kept, none = KeyCopy(tmp_path / "keys"), KeyCopy(tmp_path / "none")
    ring = Keyring(store, DIGESTS, clock, kept)
    later, elsewhere = (Keyring(PostgresApiKeyStore(database), DIGESTS, clock, copy) for copy in (kept, none))
    issued = await KeyDesk(store, DIGESTS, clock).create(WANTED)
    await ring.start()
    try:
        postgres_server.stop()
        await later.start()
        await elsewhere.start()

        assert ring.caller(issued.secret) == later.caller(issued.secret)
        assert issued.secret.encode() not in (tmp_path / "keys").read_bytes()
        assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o600
        with pytest.raises(Unavailable):
            elsewhere.caller(issued.secret)
    finally:
        await ring.close()
        await later.close()
        await elsewhere.close()
        await database.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a notification to arrive."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  # it polls what another connection changes
            await asyncio.sleep(0.01)
