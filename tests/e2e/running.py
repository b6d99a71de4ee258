"""A router in a process of its own, which tests start, kill and restart like an operator."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import asyncpg
import httpx
from openai import AsyncOpenAI, OpenAI

from service.domain.basics import Json
from service.store.connection.embedded import EmbeddedPostgres
from tests.ports import free_port

REPOSITORY = Path(__file__).parents[2]
PATIENCE_S = 120.0  # for a machine with ten times the work it can do
POLL_S = 0.02


class _Plain(TypedDict):
    verify: bool
    timeout: float


# Over plain HTTP there is nothing to verify, and to load certificates takes longer than most answers.
PLAIN: _Plain = {"verify": False, "timeout": PATIENCE_S}


@dataclass
class RunningRouter:
    """One `router serve` and its data directory, which outlives the process.

    Args:
        folder: the working folder, with the output of the process.
        environ: its settings; of the test's environment only the path is inherited.
        arguments: of the command.
    """

    folder: Path
    environ: dict[str, str]
    arguments: tuple[str, ...] = ()
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.port = self.port or free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def data_dir(self) -> Path:
        return Path(self.environ["DATA_DIR"])

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start, and wait until it is ready."""
        with (self.folder / "stdout").open("wb") as output, (self.folder / "stderr").open("wb") as errors:
            self.process = subprocess.Popen(
                self._command("serve", *self.arguments),
                cwd=self.folder,
                env=self._environ(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )
        eventually(self._is_ready)

    def kill(self) -> None:
        """Kill the process, as the kernel does when memory runs out."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def interrupt(self) -> int:
        """Press Ctrl-C; return the exit code."""
        return self.end(signal.SIGINT)

    def terminate(self) -> int:
        """End the process as a container engine does; return the exit code."""
        return self.end(signal.SIGTERM)

    def restart(self) -> None:
        assert self.terminate() == 0
        self.start()

    def clean_up(self) -> None:
        """End the process and the embedded PostgreSQL, if they still run."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        if (self.data_dir / "postgres" / "postmaster.pid").exists():
            postgres = EmbeddedPostgres(self.data_dir)
            postgres.start()
            postgres.stop()

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run another command of `router` with the same settings."""
        return subprocess.run(
            self._command(*arguments),
            cwd=self.folder,
            env=self._environ() | environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S * 2,
            check=False,
        )

    @property
    def stdout(self) -> str:
        return (self.folder / "stdout").read_text()

    @property
    def stderr(self) -> str:
        return (self.folder / "stderr").read_text()

    def client(self) -> OpenAI:
        return OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=PATIENCE_S)

    def async_client(self) -> AsyncOpenAI:
        return AsyncOpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=PATIENCE_S)

    def get(self, path: str) -> Json:
        """Get a JSON answer, on a new connection."""
        answer: Json = httpx.get(self.url + path, **PLAIN).raise_for_status().json()
        return answer

    def post(self, path: str, body: object) -> httpx.Response:
        return httpx.post(self.url + path, json=body, **PLAIN)

    def ask(self, request_id: str, prompt: str, **options: object) -> httpx.Response:
        body = {"messages": [{"role": "user", "content": prompt}], **options}
        headers = {"X-Request-ID": request_id}
        return httpx.post(f"{self.url}/chat/completions", json=body, headers=headers, **PLAIN)

    def rate(self, request_id: str, score: float) -> httpx.Response:
        return self.post("/feedback", {"request_id": request_id, "score": score})

    def route(self, prompt: str) -> Json:
        """Preview the router's decision."""
        body = {"messages": [{"role": "user", "content": prompt}]}
        decision: Json = self.post("/v1/route", body).raise_for_status().json()
        return decision

    def n_rated(self, prompt: str) -> float:
        """The number of rated answers that the router knows, over all arms."""
        return sum(float(c["posterior"]["n_rated"]) for c in self.route(prompt)["candidates"])

    def postgres_pid(self) -> int | None:
        """The pid of the embedded server, while it runs."""
        with suppress(FileNotFoundError, IndexError):
            return int((self.data_dir / "postgres" / "postmaster.pid").read_text().splitlines()[0])
        return None

    @contextmanager
    def without_postgres(self) -> Iterator[None]:
        """Kill the embedded server; the router cannot start it again until this ends."""
        pid = self.postgres_pid()
        assert pid is not None
        with (self.data_dir / "postgres.start.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            os.kill(pid, signal.SIGKILL)
            yield

    def fetch(self, sql: str) -> int:
        """Fetch a number from the embedded PostgreSQL; 0 if the query returns none."""

        async def fetch() -> int:
            connection = await asyncpg.connect(EmbeddedPostgres(self.data_dir).dsn)
            try:
                return int(await connection.fetchval(sql) or 0)
            finally:
                await connection.close()

        return asyncio.run(fetch())

    def end(self, number: signal.Signals) -> int:
        """Send a signal that ends the process; return the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the router ended: {self.stderr}"
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/ready", **PLAIN).status_code == 200
        return False

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "service.cli", *arguments]

    def _environ(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(REPOSITORY),
            "TMPDIR": str(self.folder),
            "PORT": str(self.port),
            **self.environ,
        }


def eventually(condition: Callable[[], object], within_s: float = PATIENCE_S) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"the condition does not hold within {within_s:g} s"
        time.sleep(POLL_S)


def processes_of(folder: Path) -> list[str]:
    """The command lines of running processes that name a folder or work in it."""
    commands = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(folder) in command or os.readlink(process / "cwd").startswith(str(folder)):
                commands.append(command)
    return commands
