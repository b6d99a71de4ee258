"""Commands that only read create nothing, and a rebuild does not empty the memory of another database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from service.cli import main
from service.commands.jobs.import_file import import_file
from service.commands.jobs.reconcile import Rebuilt, rebuild
from service.domain.feedback import Experience
from service.errors import StartupError
from service.learning.rewards import reward_of
from service.memory.edge import EdgeMemory
from service.settings.settings import Settings
from service.store.connection.identity import database_identity
from service.store.connection.migrate import migrate, packaged_migrations, require_schema
from service.store.connection.pool import STATEMENT_S, Database
from service.store.evidence.evidence import PostgresEvidence
from service.store.evidence.rebuild import experiences
from service.store.log.journal import PostgresJournal
from tests.integration.postgres_server import Cluster
from tests.integration.stores import a_decision, a_feedback, an_outcome
from tests.service.providers.scripted import Upstream, answers, serving

ENCODER = "http-tiny-2"
WAITS = """
SELECT EXISTS (
    SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE NOT l.granted AND d.datname = current_database()
)
"""
ROW = '{"prompt": "Why?", "model": "sim-small", "score": 1}\n'


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with serving() as upstream:
        upstream.script = answers({"data": [{"index": 0, "embedding": [1, 0]}]})
        yield upstream


def settings_of(folder: Path, upstream: Upstream, dsn: str | None) -> Settings:
    return Settings.model_validate(
        {
            "data_dir": folder / "data",
            "database_url": dsn,
            "embedding_backend": "http",
            "embedding_model": "tiny",
            "embedding_base_url": upstream.base_url,
            "embedding_timeout_s": 30,
        }
    )


async def remember_one(folder: Path, dsn: str) -> None:
    database = Database(dsn)
    identity = await database_identity(database)
    await database.close()
    memory = await EdgeMemory.open(
        folder / "data" / "memory" / identity.hex, encoder=ENCODER, dimension=2, max_points_per_arm=10
    )
    fields: dict[str, Any] = {"tenant": "default", "request_id": "r", "arm_id": "a", "encoder": ENCODER}
    vector = np.array([1, 0], dtype=np.float32)
    numbers: dict[str, Any] = {"reward": 1.0, "weight": 1.0, "latency_s": 1.0, "cost_usd": 0.1}
    at = datetime(2026, 7, 1, tzinfo=UTC)
    await memory.remember(
        [Experience(decision_id=uuid4(), context=vector, decided_at=at, task=None, **fields, **numbers)]
    )
    await memory.close()


@pytest.mark.parametrize(
    "arguments",
    [["rebuild", "--check"], ["rebuild"], ["evaluate", "--config", "c.yaml"]],
    ids=lambda arguments: " ".join(arguments),
)
def test_a_command_in_the_wrong_folder_creates_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    (tmp_path / "c.yaml").write_text("cost_weight: -0.3")
    monkeypatch.chdir(tmp_path)

    code = main(arguments)

    assert code == 1
    assert f"router: no data in DATA_DIR {tmp_path}/data" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["c.yaml"]


def test_a_dry_run_counts_rows_without_any_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.jsonl").write_text(ROW)
    monkeypatch.chdir(tmp_path)

    assert main(["import", "rows.jsonl", "--dry-run"]) == 0

    assert "sim-small: 1 rows" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


async def test_a_database_without_the_schema_stays_empty(tmp_path: Path, system_cluster: Cluster) -> None:
    database = Database(await system_cluster.empty_database())

    with pytest.raises(StartupError, match="holds no data of the router"):
        await require_schema(database)
    async with database.transaction() as connection:
        assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    await database.close()


async def test_an_older_schema_is_not_changed_by_reading(system_cluster: Cluster) -> None:
    database = Database(await system_cluster.empty_database())
    *older, newest = packaged_migrations()
    await migrate(database, older)

    with pytest.raises(StartupError, match=rf"lacks {newest.name}: run `router migrate`"):
        await require_schema(database)
    await migrate(database)
    await require_schema(database)
    await database.close()


async def test_a_rebuild_against_an_empty_database_keeps_the_memory(
    tmp_path: Path, system_cluster: Cluster, upstream: Upstream
) -> None:
    settings = settings_of(tmp_path, upstream, dsn := await system_cluster.fresh_database())
    await remember_one(tmp_path, dsn)

    with pytest.raises(StartupError, match=r"no decisions, but the memory has 1: is DATABASE_URL.*`--force`"):
        await rebuild(settings, {}, check_only=False)
    checked = await rebuild(settings, {}, check_only=True)
    forced = await rebuild(settings, {}, check_only=False, force=True)

    assert (checked.memory_before, checked.memory_after) == (1, 1)
    assert forced == Rebuilt(0, 0, 1, 0, 0)


async def test_a_rebuild_of_nothing_is_no_fault(
    tmp_path: Path, system_cluster: Cluster, upstream: Upstream
) -> None:
    settings = settings_of(tmp_path, upstream, await system_cluster.fresh_database())

    assert await rebuild(settings, {}, check_only=False) == Rebuilt(0, 0, 0, 0, 0)


async def test_a_rebuild_after_a_change_of_the_encoder_encodes_the_stored_texts_again(
    tmp_path: Path, system_cluster: Cluster, upstream: Upstream
) -> None:
    settings = settings_of(tmp_path, upstream, dsn := await system_cluster.fresh_database())
    database = Database(dsn)
    evidence = PostgresEvidence(database)
    with_text = PostgresJournal(database, store_texts=True)
    without_text = PostgresJournal(database)
    for request_id, journal in {"r1": with_text, "r2": without_text}.items():
        decision = a_decision(request_id)
        await journal.log_answer(decision, an_outcome(decision), [])
        await evidence.learn(feedback := a_feedback(0.5, request_id), reward_of(feedback))
    await evidence.mark_remembered(await evidence.pending(10))

    checked = await rebuild(settings, {}, check_only=True)
    rebuilt = await rebuild(settings, {}, check_only=False)
    again = await rebuild(settings, {}, check_only=False)

    assert (checked.n_experiences, checked.contexts_before, checked.contexts_after) == (0, 1, 1)
    assert not checked.is_clean
    assert (rebuilt.n_experiences, rebuilt.contexts_before, rebuilt.contexts_after) == (1, 1, 0)
    assert (rebuilt.memory_before, rebuilt.memory_after, rebuilt.n_without_text) == (1, 0, 1)
    assert rebuilt.is_clean
    assert (again.contexts_before, again.memory_before, again.n_without_text) == (0, 0, 1)
    [experience] = [one async for one in experiences(database, ENCODER)]
    assert (experience.request_id, experience.context.tolist()) == ("r1", [1, 0])
    await database.close()


async def test_an_import_waits_for_a_statement_longer_than_a_request_may(
    tmp_path: Path, system_cluster: Cluster, upstream: Upstream
) -> None:
    settings = settings_of(tmp_path, upstream, dsn := await system_cluster.fresh_database())
    (tmp_path / "rows.jsonl").write_text(ROW)
    database = Database(dsn, command_timeout_s=30)

    async with database.transaction() as connection:
        await connection.execute("LOCK TABLE feedback_events")
        importing = asyncio.create_task(
            import_file(
                settings,
                {},
                tmp_path / "rows.jsonl",
                tenant="default",
                same_as={},
                dry_run=False,
                progress=lambda *_: None,
            )
        )
        while not await connection.fetchval(WAITS):
            await connection.execute("SELECT pg_sleep(0.01)")
        await connection.execute("SELECT pg_sleep($1)", STATEMENT_S + 0.5)

    assert (await importing).n_added == {"imported": 1}
    await database.close()
