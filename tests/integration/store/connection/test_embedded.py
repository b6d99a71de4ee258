"""The embedded PostgreSQL: start, sharing, stop, and recovery."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest

from service.bootstrap import open as opening
from service.errors import StartupError
from service.settings.settings import Settings
from service.store.connection.embedded import EmbeddedPostgres

USER = """
import sys
from pathlib import Path
from service.store.connection.embedded import EmbeddedPostgres

postgres = EmbeddedPostgres(Path(sys.argv[1]))
postgres.start()
try:
    print("started", flush=True)
    sys.stdin.read()
except KeyboardInterrupt:
    pass
postgres.stop()
print("stopped", flush=True)
"""


class Holder:
    """Another process that uses the server."""

    def __init__(self, data_dir: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER, str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        assert b"started\n" in self.process.stdout  # reads on until then

    def press_ctrl_c(self) -> bytes:
        """Signal the whole process group, as a terminal does; returns the last line of its output."""
        os.killpg(self.process.pid, signal.SIGINT)
        output, _ = self.process.communicate()
        return output.splitlines()[-1]

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    postgres = EmbeddedPostgres(tmp_path)
    yield postgres
    postgres.start()  # so that a server that a test left running is stopped
    postgres.stop()


def run(dsn: str, sql: str) -> object:
    async def ask() -> object:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(ask())


def postmaster(postgres: EmbeddedPostgres) -> int:
    return int((postgres.cluster_dir / "postmaster.pid").read_text().splitlines()[0])


def kill(pid: int) -> None:
    """Kill a process; it is dead when this returns."""
    os.kill(pid, signal.SIGKILL)
    while Path(f"/proc/{pid}").exists():
        pass


def is_stopped(postgres: EmbeddedPostgres) -> bool:
    return not (postgres.cluster_dir / "postmaster.pid").exists()


def was_stopped_cleanly(postgres: EmbeddedPostgres) -> bool:
    """Whether the next start finds a clean shutdown."""
    postgres.start()
    log = (postgres.cluster_dir.parent / "postgres.log").read_text()
    postgres.stop()
    return "not properly shut down" not in log


def test_it_keeps_data_and_durability_settings(postgres: EmbeddedPostgres) -> None:
    steps: list[str] = []
    dsn = postgres.start(steps.append)
    run(dsn, "CREATE TABLE pets AS SELECT 'grüße' AS name")
    postgres.stop()

    dsn = postgres.start()

    assert run(dsn, "SELECT name FROM pets") == "grüße"
    assert run(dsn, "SHOW server_encoding") == "UTF8"
    assert run(dsn, "SHOW fsync") == "on"
    assert run(dsn, "SHOW synchronous_commit") == "on"
    assert steps == ["preparing PostgreSQL (first start only)", "starting PostgreSQL"]
    postgres.stop()


def test_no_other_user_can_connect(postgres: EmbeddedPostgres) -> None:
    dsn = postgres.start()

    assert run(dsn, "SHOW listen_addresses") == ""
    assert postgres.cluster_dir.stat().st_mode & 0o077 == 0
    postgres.stop()


def test_a_path_too_long_for_a_socket_works_and_leaves_no_other_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = Path(tempfile.mkdtemp())
    elsewhere.chmod(0o711)
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    data_dir = tmp_path / ("long-" * 25) / 'with "quotes", commas\' and spaces'
    data_dir.mkdir(parents=True)
    postgres = EmbeddedPostgres(data_dir)

    assert run(postgres.start(), "SELECT 1") == 1

    postgres.stop()
    elsewhere.rmdir()  # raises unless it is empty


def test_the_last_user_stops_it(postgres: EmbeddedPostgres) -> None:
    holder = Holder(postgres.cluster_dir.parent)
    dsn = postgres.start()
    postgres.stop()
    assert run(dsn, "SELECT 1") == 1

    assert holder.press_ctrl_c() == b"stopped"

    assert is_stopped(postgres)


def test_ctrl_c_in_the_terminal_stops_it_cleanly(postgres: EmbeddedPostgres) -> None:
    holder = Holder(postgres.cluster_dir.parent)

    assert holder.press_ctrl_c() == b"stopped"

    assert is_stopped(postgres)
    assert was_stopped_cleanly(postgres)


def test_a_server_whose_starter_was_killed_is_reused_and_stopped(
    postgres: EmbeddedPostgres,
) -> None:
    holder = Holder(postgres.cluster_dir.parent)
    before = postmaster(postgres)
    holder.kill()

    dsn = postgres.start()

    assert run(dsn, "SELECT 1") == 1
    assert postmaster(postgres) == before
    postgres.stop()
    assert is_stopped(postgres)


def test_a_killed_server_is_restarted(postgres: EmbeddedPostgres) -> None:
    dsn = postgres.start()
    run(dsn, "CREATE TABLE pets AS SELECT 1 AS n")
    kill(postmaster(postgres))

    again = EmbeddedPostgres(postgres.cluster_dir.parent)

    assert run(again.start(), "SELECT n FROM pets") == 1
    again.stop()
    postgres.stop()


async def test_a_temporary_folder_of_a_killed_process_is_removed_at_the_next_start(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("t")  # a short name: the path of a socket is limited
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    left, used = folder / "llm-router-passing-left", folder / "llm-router-passing-used"
    (folder / "llm-router-passing-begun").mkdir()
    killed, other = Holder(left), Holder(used)
    killed.kill()

    async with AsyncExitStack() as stack:
        own = await opening._data_dir(Settings(enable_persistence=False), stack)
        folders = {entry.name.removeprefix("llm-router-passing-") for entry in os.scandir(folder)}

    assert folders == {"used", "begun", own.name.removeprefix("llm-router-passing-")}
    with pytest.raises(FileNotFoundError):
        await asyncpg.connect(EmbeddedPostgres(left).dsn)
    assert not is_stopped(EmbeddedPostgres(used))
    assert other.press_ctrl_c() == b"stopped"


def test_a_data_directory_that_cannot_be_created_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")

    with pytest.raises(StartupError) as refused:
        EmbeddedPostgres(tmp_path / "file" / "data").start()

    assert "\n" not in str(refused.value)
