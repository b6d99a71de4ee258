"""A log moves from the embedded stores to a server, and the router there decides as the one before."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.app import create_app, in_front
from service.bootstrap.open import open_parts
from service.cli import main
from service.commands.jobs.export_log import export_log
from service.commands.jobs.import_log import import_log
from service.dialects.chat.requests import read_query
from service.dialects.received import Received
from service.domain.decision import Decision
from service.domain.forgotten import Selection
from service.domain.query import Query
from service.errors import StartupError
from service.parts import Parts
from service.settings.settings import Settings
from service.store.connection.pool import Database
from service.store.evidence.rebuild import evidence_differences
from service.store.forgetting.forget import PostgresForgetting
from service.store.log.whole_log import TABLES
from tests.fakes import FakeModelClient, FixedClock
from tests.integration.postgres_server import Cluster

TOPICS = ["Fix this loop in Python", "Write a poem about rain", "Solve 3x + 4 = 10", "Summarise this letter"]
NOWHERE = "http://127.0.0.1:9/v1"
MODELS = [
    {
        "id": f"m{i}",
        "provider": "openai",
        "model": f"m{i}",
        "base_url": "http://127.0.0.1:9/v1",
        "price": price,
    }
    for i, price in enumerate(({"input": 1, "output": 3}, {"input": 5, "output": 15}, "free"))
]
NEW = {
    "id": "late",
    "provider": "openai",
    "model": "late",
    "base_url": "http://127.0.0.1:9/v1",
    "price": "free",
}
# What another database numbers or names by itself.
OWN = {"changed_in", "version"}


def settings_of(folder: Path, dsn: str | None) -> Settings:
    return Settings.model_validate(
        {"data_dir": folder, "database_url": dsn, "models": MODELS, "memory_timeout_s": 30}
    )


@dataclass
class Opened:
    parts: Parts
    http: httpx.AsyncClient

    @property
    def database(self) -> Database:
        assert isinstance(self.parts.database, Database)
        return self.parts.database

    async def decide(self) -> list[Decision]:
        """What would be decided of each topic, with the same seed at the same time."""
        at = FixedClock()

        router = replace(self.parts.router, clock=at, rng=np.random.default_rng(7))
        return [await router.decide(a_query(topic, at)) for topic in TOPICS]


def a_query(text: str, clock: FixedClock) -> Query:
    body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": text}]})
    return read_query(body.encode(), Received({}, "default", f"next {text}", True, clock()))


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Opened]:
    async with open_parts(settings, {}, model_client=FakeModelClient(FixedClock())) as parts:
        transport = httpx.ASGITransport(
            in_front(create_app(settings, {}, parts), settings), client=("127.0.0.1", 1)
        )
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as http:
            yield Opened(parts, http)


async def use(router: Opened) -> None:
    """Requests, conversations, ratings, a revision, and a model that is added while it runs."""
    for i in range(40):
        if i == 20:
            (await router.http.post("/admin/models", json=NEW)).raise_for_status()
        body = {
            "model": "auto",
            "messages": [{"role": "user", "content": f"{TOPICS[i % 4]} number {i // 4}"}],
            "router": {"session_id": f"s{i % 5}"},
        }
        answer = await router.http.post("/v1/chat/completions", json=body, headers={"X-Request-ID": f"r{i}"})
        answer.raise_for_status()
        rating = {"request_id": f"r{i}", "score": (i * 7 % 11) / 10, "feedback_text": "so \n so"}
        (await router.http.post("/feedback", json=rating)).raise_for_status()
    (await router.http.post("/feedback", json={"request_id": "r3", "score": 0.123})).raise_for_status()
    await router.parts.journal.drain()
    await router.parts.learner.sweep()


async def rows_of(database: Database) -> dict[str, list[dict[str, Any]]]:
    tables = {}
    async with database.transaction() as connection:
        for table in (*TABLES, "evidence", "histories"):
            rows = await connection.fetch(f"SELECT t.* FROM {table} t ORDER BY t::text")
            tables[table] = sorted(({k: v for k, v in row.items() if k not in OWN} for row in rows), key=str)
    return tables


def comparable(decision: Decision) -> tuple[object, ...]:
    candidates = [repr(replace(c, prior_state=c.prior_state)) for c in decision.candidates]
    return decision.arm_id, decision.propensity, candidates, decision.expert_weights, decision.n_rated


def dsn_of(settings: Settings) -> str:
    assert settings.database_url is not None
    return settings.database_url.get_secret_value()


async def rows_at(settings: Settings) -> dict[str, list[dict[str, Any]]]:
    database = Database(dsn_of(settings))
    rows = await rows_of(database)
    await database.close()
    return rows


def cut(file: Path) -> Path:
    """A part of the content that ends in the middle of a line."""
    part = file.with_name(f"{file.name}.part")
    part.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return part


def mode_of(file: Path) -> int:
    return file.stat().st_mode & 0o777


def write_head(file: Path, head: object) -> None:
    file.write_text(f'{json.dumps(head, separators=(",", ":"))}\n{{"router_log_end":true}}\n')


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


@pytest.fixture
def in_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.commands.jobs.import_log.MOST_LINES", 3)


async def test_the_moved_router_decides_as_the_one_before_to_the_last_bit(
    system_cluster: Cluster, tmp_path: Path, file: Path
) -> None:
    embedded = settings_of(tmp_path / "embedded", None)
    server = settings_of(tmp_path / "server", await system_cluster.empty_database())
    async with opened(embedded) as before:
        await use(before)
    async with opened(embedded) as before:  # what a process fits now and then is as new in both
        expected, rows = await before.decide(), await rows_of(before.database)
        exported = await export_log(embedded, file)

    imported = await import_log(server, {}, file, progress=lambda *_: None)

    assert (exported.n_decisions, imported.n_decisions, imported.n_queued) == (40, 40, 40)
    async with opened(server) as after:
        await after.parts.learner.sweep()
        assert await rows_of(after.database) == rows
        assert len(await evidence_differences(after.database)) == 0
        found = await after.decide()
        assert [comparable(decision) for decision in found] == [comparable(decision) for decision in expected]
        assert any(len(decision.neighbours) > 0 for decision in found)
        rated = await after.http.post("/feedback", json={"request_id": "r5", "score": 1})
        assert rated.status_code == 202
    assert (await import_log(server, {}, file, progress=lambda *_: None)).n_decisions == 0


async def test_an_interrupted_export_begins_again_with_what_changed_meanwhile(
    system_cluster: Cluster, tmp_path: Path, file: Path
) -> None:
    source = settings_of(tmp_path / "a", await system_cluster.fresh_database())
    target = settings_of(tmp_path / "b", await system_cluster.fresh_database())
    async with opened(source) as router:
        await use(router)
        await export_log(source, file)
        part = cut(file)
        changed = await router.http.post("/feedback", json={"request_id": "r3", "score": 0.9})
        changed.raise_for_status()
        await router.parts.learner.sweep()
        rows = await rows_of(router.database)

    with pytest.raises(StartupError, match="the end is missing"):
        await import_log(target, {}, part, progress=lambda *_: None)
    await export_log(source, file)
    assert (mode_of(file), part.exists()) == (0o600, False)
    await import_log(target, {}, file, progress=lambda *_: None)
    assert await rows_at(target) == rows


async def interrupt(target: Settings, file: Path) -> None:
    """Import the first half, more or less."""

    def interrupted(done: int, size: int) -> None:
        if done > size // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await import_log(target, {}, file, progress=interrupted)


async def test_an_interrupted_import_is_repeated(
    system_cluster: Cluster, tmp_path: Path, file: Path, in_small_batches: None
) -> None:
    source = settings_of(tmp_path / "a", await system_cluster.fresh_database())
    target = settings_of(tmp_path / "b", await system_cluster.fresh_database())
    async with opened(source) as router:
        await use(router)
        rows = await rows_of(router.database)
    await export_log(source, file)

    await interrupt(target, file)
    await import_log(target, {}, file, progress=lambda *_: None)

    assert await rows_at(target) == rows


async def test_between_an_interrupted_import_and_its_repetition_feedback_is_taken(
    system_cluster: Cluster, tmp_path: Path, file: Path, in_small_batches: None
) -> None:
    source = settings_of(tmp_path / "a", await system_cluster.fresh_database())
    target = settings_of(tmp_path / "b", await system_cluster.fresh_database())
    async with opened(source) as router:
        await use(router)
    await export_log(source, file)
    await interrupt(target, file)

    async with opened(target) as router:
        for i in range(50):  # more than the file has
            body = {"model": "auto", "messages": [{"role": "user", "content": TOPICS[i % 4]}]}
            name = {"X-Request-ID": f"new{i}"}
            (await router.http.post("/v1/chat/completions", json=body, headers=name)).raise_for_status()
            rating = {"request_id": f"new{i}", "score": 0.77}
            assert (await router.http.post("/feedback", json=rating)).status_code == 202
    await import_log(target, {}, file, progress=lambda *_: None)

    scores = [event["score"] for event in (await rows_at(target))["feedback_events"] if not event["signal"]]
    assert (len(scores), scores.count(0.77)) == (41 + 50, 50)


async def test_states_and_prices_move_into_a_database_that_a_router_has_used_once(
    system_cluster: Cluster, tmp_path: Path, file: Path
) -> None:
    source = settings_of(tmp_path / "a", await system_cluster.fresh_database())
    target = settings_of(tmp_path / "b", await system_cluster.fresh_database())
    async with opened(source) as router:
        await use(router)
        cheaper = {"price": {"input": 2, "output": 3}}
        (await router.http.patch("/admin/models/m1", json=cheaper)).raise_for_status()
        (await router.http.patch("/admin/models/m2", json={"state": "retired"})).raise_for_status()
        rows = await rows_of(router.database)
    await export_log(source, file)
    async with opened(target) as router:
        dearer = {"price": {"input": 50, "output": 60}}
        (await router.http.patch("/admin/models/m1", json=dearer)).raise_for_status()

    await import_log(target, {}, file, progress=lambda *_: None)

    assert await rows_at(target) == rows
    async with opened(target) as router:
        (await router.http.patch("/admin/models/m1", json={"state": "draining"})).raise_for_status()
        rows = await rows_of(router.database)
    await import_log(target, {}, file, progress=lambda *_: None)
    assert (await rows_at(target))["arms"] == rows["arms"]


async def test_what_was_forgotten_does_not_come_back(
    system_cluster: Cluster, tmp_path: Path, file: Path
) -> None:
    settings = settings_of(tmp_path / "a", await system_cluster.fresh_database())
    target = settings_of(tmp_path / "b", await system_cluster.fresh_database())
    async with opened(settings) as router:
        await use(router)
    await export_log(settings, file)
    await import_log(target, {}, file, progress=lambda *_: None)
    database = Database(dsn_of(target))
    forgotten = Selection(datetime.now(UTC) + timedelta(days=1), "default", request_id="r7")
    await PostgresForgetting(database).forget(forgotten, datetime.now(UTC))
    await database.close()
    rows = await rows_at(target)

    imported = await import_log(target, {}, file, progress=lambda *_: None)

    assert (imported.n_decisions, imported.n_forgotten) == (0, 1)
    assert "1 decisions were left out" in imported.text()
    assert await rows_at(target) == rows


async def test_a_log_does_not_mix_with_that_of_another_database(
    system_cluster: Cluster, tmp_path: Path, file: Path
) -> None:
    source = settings_of(tmp_path / "a", await system_cluster.fresh_database())
    target = settings_of(tmp_path / "b", await system_cluster.fresh_database())
    for settings in (source, target):
        async with opened(settings) as router:
            await use(router)
            rows = await rows_of(router.database)
    await export_log(source, file)

    with pytest.raises(StartupError, match="decisions of its own: a log moves into an empty database"):
        await import_log(target, {}, file, progress=lambda *_: None)

    assert await rows_at(target) == rows


async def test_a_log_does_not_mix_with_what_was_learned_since_it_moved(
    system_cluster: Cluster, tmp_path: Path, file: Path
) -> None:
    source = settings_of(tmp_path / "a", await system_cluster.fresh_database())
    target = settings_of(tmp_path / "b", await system_cluster.fresh_database())
    async with opened(source) as router:
        await use(router)
    await export_log(source, file)
    await import_log(target, {}, file, progress=lambda *_: None)
    for settings, request in ((source, "r1"), (source, "r4"), (target, "r2"), (target, "r3")):
        async with opened(settings) as router:
            rated = await router.http.post("/feedback", json={"request_id": request, "score": 0.4})
            rated.raise_for_status()
            rows = await rows_of(router.database)
    await export_log(source, file)

    with pytest.raises(StartupError, match="another feedback here: a log moves into an empty database"):
        await import_log(target, {}, file, progress=lambda *_: None)

    assert await rows_at(target) == rows


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ({"router_log": 2, "database": "", "columns": {}}, "is of version 2, and this router reads up to 1"),
        ({"router_log": 1, "database": "", "columns": {"moods": []}}, "a newer version, which has moods"),
        ({"router_log": 1, "database": "", "columns": {"attempts": ["mood"]}}, "keeps mood in attempts"),
    ],
)
async def test_a_file_of_a_newer_version_is_refused_in_words(
    system_cluster: Cluster, tmp_path: Path, file: Path, head: object, reason: str
) -> None:
    write_head(file, head)

    with pytest.raises(StartupError, match=reason):
        await import_log(
            settings_of(tmp_path, await system_cluster.fresh_database()), {}, file, progress=lambda *_: None
        )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["export"], "name one file"),
        (["export", "--log", "a", "--policy", "b"], "name one file"),
        (["export", "--log", "a", "--tenant", "x"], "that of all tenants"),
        (["import", "log.jsonl", "--dry-run"], "taken over as it is"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("log.jsonl").write_text('{"router_log":1}\n')

    assert main(arguments) == 2

    assert reason in capsys.readouterr().err
