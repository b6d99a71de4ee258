"""The background tasks that restart PostgreSQL and migrate its schema."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from service.bootstrap import database as opening
from service.errors import StartupError, StoreUnavailable
from service.store.connection.embedded import EmbeddedPostgres
from service.store.connection.pool import Database
from tests.fakes import FakeDatabase, FakeStore

DSN = "postgresql://user@127.0.0.1:9/nothing"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "RETRY_S", 0.0)


async def test_the_migration_is_retried_after_any_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    errors = [StoreUnavailable("away"), StartupError("the schema is newer"), KeyError("unexpected")]

    async def migrate(database: Database) -> list[str]:
        if errors:
            raise errors.pop(0)
        return []

    monkeypatch.setattr(opening, "migrate", migrate)

    await opening._migrate_when_available(DSN)

    assert errors == []
    logged = capsys.readouterr().out
    assert "the schema is newer" in logged
    assert "unexpected" in logged


class DeadPostgres:
    """Fails to start with every kind of error, then starts."""

    def __init__(self) -> None:
        self.errors: list[Exception] = [StartupError("no room"), OSError("unexpected")]
        self.has_started = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def start(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        self._loop.call_soon_threadsafe(self.has_started.set)
        return DSN


async def test_a_dead_server_is_restarted_after_any_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    postgres, database = DeadPostgres(), FakeDatabase(FakeStore(is_down=True))

    restarting = asyncio.create_task(
        opening._keep_running(cast(EmbeddedPostgres, postgres), cast(Database, database))
    )
    async with asyncio.timeout(10):
        await postgres.has_started.wait()
    restarting.cancel()

    logged = capsys.readouterr().out
    assert "no room" in logged
    assert "unexpected" in logged
