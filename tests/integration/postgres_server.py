"""Real PostgreSQL servers for tests: the embedded one, and a system one to kill and start again."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import pytest

from service.store.connection.embedded import EmbeddedPostgres
from service.store.connection.migrate import migrate
from service.store.connection.pool import Database

DEFAULT_BIN = Path("/usr/lib/postgresql/15/bin")
SERVER_USER = "nobody"  # when the tests run as root: PostgreSQL must not
TEMPLATE = "migrated"
_numbers = itertools.count(1)


@dataclass
class PostgresServer:
    """One server on its own directory; `stop`, `kill` and `start` keep its data."""

    bin_dir: Path
    directory: Path

    @property
    def dsn(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.directory}"

    @property
    def socket(self) -> str:
        """The path of its Unix socket."""
        return str(self.directory / ".s.PGSQL.5432")

    def create(self) -> None:
        options = ["-U", "postgres", "--encoding=UTF8", "--no-locale", "--auth=trust", "--no-sync"]
        self._run("initdb", "-D", str(self._data), *options)

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories={self.directory}"
        log = str(self.directory / "log")
        self._run("pg_ctl", "start", "-w", "-D", str(self._data), "-l", log, "-o", options)

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "-w", "-m", "fast", "-D", str(self._data))

    def kill(self) -> None:
        """Stop as in an outage: no checkpoint, and clients are not told."""
        self._run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", str(self._data))

    def freeze(self) -> None:
        """Stop answering without closing a connection."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def _signal(self, number: signal.Signals) -> None:
        postmaster = int((self._data / "postmaster.pid").read_text().splitlines()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        for pid in [postmaster, *map(int, children)]:
            os.kill(pid, number)

    def _run(self, command: str, *arguments: str) -> None:
        with (self.directory / "output").open("ab") as output:
            done = subprocess.run(
                [str(self.bin_dir / command), *arguments],
                user=SERVER_USER if os.geteuid() == 0 else None,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        assert done.returncode == 0, (self.directory / "output").read_text()


@contextmanager
def running_server(bin_dir: Path) -> Iterator[PostgresServer]:
    """A new server, removed at the end."""
    directory = Path(tempfile.mkdtemp(prefix="postgres-test-"))
    if os.geteuid() == 0:
        user = pwd.getpwnam(SERVER_USER)
        os.chown(directory, user.pw_uid, user.pw_gid)
    server = PostgresServer(bin_dir, directory)
    server.create()
    server.start()
    try:
        yield server
    finally:
        if (directory / "data" / "postmaster.pid").exists():
            server.kill()
        shutil.rmtree(directory)


@dataclass
class Cluster:
    """A server shared by many tests: each takes a fresh database, copied from a migrated one."""

    dsn: str
    has_template: bool = field(default=False)

    async def fresh_database(self) -> str:
        """The DSN of an empty database with the schema."""
        if not self.has_template:
            await migrate_database(await self.empty_database(TEMPLATE))
            self.has_template = True
        return await self.empty_database(f"test_{next(_numbers)}", template=TEMPLATE)

    async def empty_database(self, name: str | None = None, *, template: str = "template0") -> str:
        """The DSN of a database without the schema, unless the template has it."""
        name = name or f"empty_{next(_numbers)}"
        connection = await asyncpg.connect(self.dsn)
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        await connection.close()
        return self.dsn.replace("/postgres?", f"/{name}?")


async def migrate_database(dsn: str) -> None:
    database = Database(dsn)
    await migrate(database)
    await database.close()


@pytest.fixture(scope="session")
def postgres_bin() -> Path:
    bin_dir = Path(os.environ.get("TEST_POSTGRES_BIN", DEFAULT_BIN))
    if not (bin_dir / "initdb").exists():
        pytest.skip(f"no PostgreSQL in {bin_dir}: apt-get install postgresql, or set TEST_POSTGRES_BIN")
    return bin_dir


@pytest.fixture(scope="session")
def system_cluster(postgres_bin: Path) -> Iterator[Cluster]:
    with running_server(postgres_bin) as server:
        yield Cluster(server.dsn)


@pytest.fixture(scope="session")
def embedded_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    postgres = EmbeddedPostgres(tmp_path_factory.mktemp("embedded"))
    yield Cluster(postgres.start())
    postgres.stop()


@pytest.fixture
def postgres_server(postgres_bin: Path) -> Iterator[PostgresServer]:
    """A server for one test, to kill and restart."""
    with running_server(postgres_bin) as server:
        yield server


@pytest.fixture(params=["embedded", "system"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    found: Cluster = request.getfixturevalue(f"{request.param}_cluster")
    return found


@pytest.fixture
async def dsn(cluster: Cluster) -> str:
    return await cluster.fresh_database()


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    """Generous timeouts: these tests share two cores with others."""
    opened = Database(dsn, connect_timeout_s=10.0, command_timeout_s=10.0)
    yield opened
    await opened.close()
