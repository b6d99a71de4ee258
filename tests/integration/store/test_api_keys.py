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
from tests.fakes_keys import FakeApiKeyStore, FakeKeyTable
from tests.fakes_store import FakeStore
from tests.integration.postgres_server import PostgresServer, migrate_database
from tests.integration.stores import NOW

KEY = ApiKey(
    uuid4(), "app", "shop", frozenset({"read", "feedback"}), frozenset({"small"}), b"d" * 32, "secret", NOW
)
DIGESTS = KeyDigests(["a-secret-of-this-test-with-32-characters"])
WANTED = NewKey("app", "shop", frozenset({"inference"}), limits={"usd": ("5/day",)})


def desk_of(store: ApiKeyStore, copy: Path, clock: FixedClock | None = None) -> KeyDesk:
    """Where keys are made, in a process that keeps its copy of them there."""
    clock = clock or FixedClock()
    return KeyDesk(store, DIGESTS, clock, Keyring(store, DIGESTS, clock, KeyCopy(copy, "here")))


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
    rings = [Keyring(store, DIGESTS, clock, KeyCopy(tmp_path / "keys", "here")) for store in stores]
    desk = desk_of(PostgresApiKeyStore(databases[0]), tmp_path / "elsewhere", clock)
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


async def test_the_database_has_nothing_that_lets_anybody_in(database: Database, tmp_path: Path) -> None:
    store = PostgresApiKeyStore(database)
    issued = await desk_of(store, tmp_path / "keys").create(WANTED)

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
    kept, none = KeyCopy(tmp_path / "keys", "here"), KeyCopy(tmp_path / "none", "here")
    ring = Keyring(store, DIGESTS, clock, kept)
    later, elsewhere = (Keyring(PostgresApiKeyStore(database), DIGESTS, clock, copy) for copy in (kept, none))
    issued = await desk_of(PostgresApiKeyStore(database), tmp_path / "elsewhere", clock).create(WANTED)
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


# --- the copy of the keys


async def started(table: FakeKeyTable, copy: Path, database: str = "here") -> Keyring:
    """The keys in a process that starts now."""
    ring = Keyring(FakeApiKeyStore(table), DIGESTS, FixedClock(), KeyCopy(copy, database))
    await ring.start()
    await ring.close()
    return ring


async def test_what_a_command_changes_holds_for_a_router_that_starts_without_postgresql(
    tmp_path: Path,
) -> None:
    table, copy = FakeKeyTable(), tmp_path / "keys"
    await started(table, copy)
    command = desk_of(FakeApiKeyStore(table), copy)
    first, second = await command.create(WANTED), await command.create(replace(WANTED, name="other"))
    await command.revoke("app")

    table.is_away = True
    ring = await started(table, copy)

    assert ring.caller(second.secret).key_name == "other"
    with pytest.raises(KeyRequired, match="was revoked"):
        ring.caller(first.secret)


class LeavingStore(FakeApiKeyStore):
    """PostgreSQL takes a new key, and is gone before it can be read."""

    async def add(self, key: ApiKey) -> None:
        await super().add(key)
        self.table.is_away = True


async def test_a_new_key_is_shown_although_it_cannot_be_read_again_and_no_old_copy_is_left(
    tmp_path: Path,
) -> None:
    table, copy = FakeKeyTable({KEY.key_id: replace(KEY, name="other")}), tmp_path / "keys"
    ring = await started(table, copy)

    issued = await desk_of(LeavingStore(table), copy).create(WANTED)
    later = await started(table, copy)
    table.is_away = False
    await ring.refresh()

    assert not later.is_loaded
    assert ring.caller(issued.secret).key_name == "app"


@pytest.mark.parametrize("has_revoked_one", [False, True])
async def test_a_copy_without_a_key_in_use_does_not_say_that_there_is_none(
    has_revoked_one: bool, tmp_path: Path
) -> None:
    table, copy = FakeKeyTable(), tmp_path / "keys"
    if has_revoked_one:
        table.keys[KEY.key_id] = replace(KEY, revoked_at=NOW)
    await started(table, copy)
    table.is_away = True

    assert not (await started(table, copy)).is_loaded


async def test_the_first_reading_of_the_database_replaces_the_keys_of_the_copy(tmp_path: Path) -> None:
    before, now, copy = FakeKeyTable(), FakeKeyTable(is_away=True), tmp_path / "keys"
    issued = await desk_of(FakeApiKeyStore(before), copy).create(WANTED)
    ring = await started(now, copy)
    of_copy = ring.caller(issued.secret)
    now.is_away = False

    await ring.refresh()

    assert of_copy.key_name == "app"
    with pytest.raises(KeyRequired, match="no such key"):
        ring.caller(issued.secret)
    assert KeyCopy(copy, "here").read() == []


async def test_the_copy_of_another_database_lets_nobody_in(tmp_path: Path) -> None:
    table, copy = FakeKeyTable(), tmp_path / "keys"
    await desk_of(FakeApiKeyStore(table), copy).create(WANTED)
    table.is_away = True

    here, there = [(await started(table, copy, name)).is_loaded for name in ("here", "there")]

    assert (here, there) == (True, False)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a notification to arrive."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  # it polls what another connection changes
            await asyncio.sleep(0.01)
